//! Makes user-supplied text safe to show in logs, in responses and on terminals.

/// Whether a character affects the display: it starts a line, moves the cursor, or changes the
/// direction of the surrounding text.
pub fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separators.
            '\u{2028}' | '\u{2029}'
            // Marks, embeddings, overrides and isolates of right-to-left text.
            | '\u{061C}' | '\u{200E}' | '\u{200F}'
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The first `characters_max` characters of a text, not counting unsafe ones, which are removed.
pub fn shown(text: &str, characters_max: usize) -> String {
    text.chars().filter(|c| !is_unsafe_to_show(*c)).take(characters_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_has_one_line_and_one_direction() {
        let text = "a\n\r\u{1b}\u{7f}\u{85}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\
            \u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}é😀\u{200d}שb";
        assert_eq!(shown(text, 100), "aé😀\u{200d}שb");
        assert_eq!(shown(text, 2), "aé");
    }
}

//! The requests about apps: `/admin/apps` and `/admin/apps/ID` (`reverb-apps(7)`). The owner of
//! the hub answers them, because the apps are in files: a request waits until its answer is there.
//! What the token opens is decided in `guard`.

use std::num::NonZeroU32;

use super::responses::{NOT_AN_OBJECT, error, with_headers};
use crate::config::AppAction;
use crate::hub::Hub;
use crate::hub::connections::Connections;
use crate::hub::connections::requests::Step;
use crate::hub::ids::{ConnId, Now};
use crate::hub::peer::{Phase, Request};
use crate::hub::work::Lane;
use crate::proto::http::{Body, Head, Response};
use crate::proto::query::decode_percent;

/// The path of all apps; that of one has a slash and its id after it.
pub(super) const APPS: &str = "/admin/apps";

/// A request about apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRequest {
    /// Identifies it in [`Hub::answer_app_request`].
    pub number: NonZeroU32,
    /// What it asks for.
    pub action: AppAction,
}

/// The requests that wait for the owner.
#[derive(Default)]
pub(super) struct Admin {
    /// The number of the last request.
    number: u32,
    /// Requests that the owner has not taken.
    asked: Vec<AppRequest>,
    /// The requests without an answer, and their connections.
    waiting: Vec<(NonZeroU32, ConnId)>,
    /// Answers that their connections have not taken.
    answers: Vec<(NonZeroU32, ConnId, Response)>,
}

/// The most requests that wait at a time.
const WAITING_MAX: usize = 16;

impl<T> Hub<T> {
    /// The next request about apps. The owner answers it by [`Hub::answer_app_request`].
    pub fn next_app_request(&mut self) -> Option<AppRequest> {
        let asked = &mut self.console.as_deref_mut()?.admin.asked;
        (!asked.is_empty()).then(|| asked.remove(0))
    }

    /// Answers a request about apps with a status and a JSON text.
    pub fn answer_app_request(&mut self, number: NonZeroU32, status: u16, body: String) {
        let Some(console) = self.console.as_deref_mut() else { return };
        let admin = &mut console.admin;
        let Some(at) = admin.waiting.iter().position(|(waiting, _)| *waiting == number) else {
            return;
        };
        let (_, id) = admin.waiting.swap_remove(at);
        if app_request(&self.connections, id) == Some(number) {
            admin.answers.push((number, id, Response::json(status, body)));
            self.connections.schedule_in(id, Lane::Light);
        }
    }

    /// Whether a request about apps has no answer yet. A new process would carry it out again, without
    /// the secret that this one may have generated for it.
    pub fn has_app_requests(&self) -> bool {
        let Some(Admin { waiting, answers, .. }) = self.console.as_deref().map(|it| &it.admin)
        else {
            return false;
        };
        let answers = answers.iter().map(|(number, id, _)| (number, id));
        let mut all = waiting.iter().map(|(number, id)| (number, id)).chain(answers);
        all.any(|(number, id)| app_request(&self.connections, *id) == Some(*number))
    }

    /// The requests about apps of these connections.
    pub(in crate::hub) fn app_requests(&self, ids: &[ConnId]) -> Vec<Option<NonZeroU32>> {
        ids.iter().map(|id| app_request(&self.connections, *id)).collect()
    }

    /// Continues requests about apps after a change of the configuration: those of the connections in
    /// this order, whose ids are their places now.
    pub(in crate::hub) fn keep_app_requests(&mut self, requests: Vec<Option<NonZeroU32>>) {
        let Some(console) = self.console.as_deref_mut() else { return };
        let asked = (0..).map(ConnId).zip(requests);
        for (id, number) in asked.filter_map(|(id, number)| Some((id, number?))) {
            let phase = self.connections.get_mut(id).map(|peer| &mut peer.phase);
            if let Some(Phase::Request(request)) = phase {
                request.app_request = Some(number);
            }
            let Admin { waiting, answers, .. } = &mut console.admin;
            let ids = waiting.iter_mut().map(|(of, id)| (of, id));
            let ids = ids.chain(answers.iter_mut().map(|(of, id, _)| (of, id)));
            ids.filter(|(of, _)| **of == number).for_each(|(_, place)| *place = id);
        }
    }

    /// Serves a request about apps: it waits, or its answer is there.
    pub(super) fn serve_admin(
        &mut self,
        id: ConnId,
        request: &mut Request,
        head: &Head<'_>,
        body: &[u8],
        len: usize,
        now: Now,
    ) -> Step {
        let response = match self.ask_or_answer(id, request, head, body) {
            Ok(None) => return Step::Waiting,
            Ok(Some(response)) | Err(response) => response,
        };
        self.connections.respond(id, head, with_headers(response), len, now)
    }

    fn ask_or_answer(
        &mut self,
        id: ConnId,
        request: &mut Request,
        head: &Head<'_>,
        body: &[u8],
    ) -> Result<Option<Response>, Response> {
        let console = self.console.as_deref_mut();
        let admin = &mut console.ok_or_else(|| error(503, "There is no console."))?.admin;
        if let Some(number) = request.app_request {
            let at = admin.answers.iter().position(|(answered, ..)| *answered == number);
            return Ok(at.map(|at| admin.answers.swap_remove(at).2));
        }
        // Connections that have closed wait no more.
        let asked_by = |id: ConnId| app_request(&self.connections, id);
        admin.waiting.retain(|(number, id)| asked_by(*id) == Some(*number));
        admin.answers.retain(|(number, id, _)| asked_by(*id) == Some(*number));
        if admin.waiting.len() >= WAITING_MAX {
            return Err(error(503, "Too many requests about apps are under way."));
        }
        let action = action_of(head, body)?;
        admin.number = admin.number.wrapping_add(1);
        let number = NonZeroU32::new(admin.number).unwrap_or(NonZeroU32::MIN);
        admin.asked.push(AppRequest { number, action });
        admin.waiting.push((number, id));
        request.app_request = Some(number);
        Ok(None)
    }
}

/// The number of the request about apps of a connection. If the connection that has sent a request has
/// closed, another one may have its id now, with another number.
fn app_request<T>(connections: &Connections<T>, id: ConnId) -> Option<NonZeroU32> {
    match &connections.get(id)?.phase {
        Phase::Request(request) => request.app_request,
        _ => None,
    }
}

/// The methods of a path below [`APPS`]; `None` if it is not one.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    match path.strip_prefix(APPS)?.strip_prefix('/') {
        None if path == APPS => Some("GET"),
        Some(id) if !id.is_empty() && !id.contains('/') => Some("GET, PUT, DELETE"),
        _ => None,
    }
}

fn action_of(head: &Head<'_>, body: &[u8]) -> Result<AppAction, Response> {
    if head.body == Body::Chunked {
        return Err(error(411, "This request needs a Content-Length."));
    }
    let id = head.path.strip_prefix(APPS).and_then(|rest| rest.strip_prefix('/'));
    let Some(id) = id else { return Ok(AppAction::List) };
    let id = decode_percent(id).into_owned();
    Ok(match head.method.to_ascii_uppercase().as_str() {
        "PUT" => {
            let settings = std::str::from_utf8(body).map_err(|_| error(400, NOT_AN_OBJECT))?;
            AppAction::Put { id, settings: settings.to_owned() }
        }
        "DELETE" => AppAction::Remove(id),
        _ => AppAction::Show(id),
    })
}

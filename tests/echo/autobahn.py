"""The Autobahn suite against the echo server, whose verdicts must be those of verdicts.txt beside
this file, and against the product's own endpoint, which must survive it.

    autobahn.py FOLDER ECHO REVERB [--all] [--write]

FOLDER keeps the installed suite and its reports; ECHO and REVERB are the two programs. `--all` runs
all cases of compression, not only those with short messages; `--write` does so, too, and writes
verdicts.txt. The suite needs CPython 2.7: $AUTOBAHN_PYTHON, a python2.7 that runs, or
one of pyenv's. Where there is none this fails: a suite that was not run has not passed.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
VERDICTS = os.path.join(HERE, "verdicts.txt")
REQUIREMENTS = os.path.join(HERE, "requirements.txt")
# Sections 8 and 11 do not exist; 12 and 13 are of compression.
PLAIN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
COMPRESSED = ["12.*", "13.*"]
# A thousand messages of up to 8 KB, as the sender chooses its frames; the other cases have up to 128 KB.
SHORT = [f"{group}.{case}" for group in (*(f"12.{n}" for n in range(1, 6)), *(f"13.{n}" for n in range(1, 8)))
         for case in range(1, 7)]
CASES = {"plain": 301, "compressed": 216}
# The only offer of these cases limits the server's window to 512 bytes, so it is declined.
DECLINED = ("13.3.", "13.5.")
# The plain cases take half a minute against the echo server and a minute and a half against the
# product, which answers none of its messages; those of compression take some minutes. A machine may
# be ten times as busy.
DEADLINE_S = 3600


def python2():
    candidates = [os.environ.get("AUTOBAHN_PYTHON"), shutil.which("python2.7")]
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    candidates += sorted(glob.glob(os.path.join(pyenv, "versions/2.7.*/bin/python2.7")))
    for candidate in filter(None, candidates):
        # pyenv puts a python2.7 in the path that only says which versions there are.
        told = subprocess.run([candidate, "--version"], capture_output=True, text=True)
        if told.returncode == 0 and "2.7" in told.stdout + told.stderr:
            return candidate
    sys.exit("autobahn: no CPython 2.7; set AUTOBAHN_PYTHON, or `pyenv install 2.7.18`")


def install(folder):
    """Installs the suite, unless this very one is there, and returns its wstest."""
    suite = os.path.join(folder, "suite")
    wstest, stamp = os.path.join(suite, "bin/wstest"), os.path.join(suite, "requirements.txt")
    with open(REQUIREMENTS) as file:
        wanted = file.read()
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return wstest
    shutil.rmtree(folder, ignore_errors=True)
    tools, pip = os.path.join(folder, "tools"), ["-m", "pip", "install", "--quiet"]
    pip.append("--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    # The last release that makes environments for CPython 2.7.
    subprocess.run([f"{tools}/bin/python", *pip, "virtualenv==20.21.1"], check=True)
    subprocess.run(
        [f"{tools}/bin/virtualenv", "--quiet", "--python", python2(), suite], check=True
    )
    # pip says at length that CPython 2.7 is old.
    quiet = dict(os.environ, PYTHONWARNINGS="ignore")
    subprocess.run(
        [f"{suite}/bin/python", *pip, "--requirement", REQUIREMENTS], check=True, env=quiet
    )
    shutil.copy(REQUIREMENTS, stamp)
    return wstest


def run(wstest, url, reports, sections, cases):
    """Runs the suite, and returns what it found, by case. Its exit code is 0 whatever it found."""
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    spec = {"outdir": ".", "cases": sections, "exclude-cases": [], "exclude-agent-cases": {}}
    spec["servers"] = [{"agent": "here", "url": url}]
    with open(os.path.join(reports, "spec.json"), "w") as file:
        json.dump(spec, file)
    with open(os.path.join(reports, "log"), "w") as log:
        subprocess.run(
            [wstest, "-m", "fuzzingclient", "-s", "spec.json"],
            cwd=reports, stdout=log, stderr=log, check=True, timeout=DEADLINE_S,
        )
    with open(os.path.join(reports, "index.json")) as file:
        found = json.load(file).get("here", {})
    if len(found) != cases:
        raise SystemExit(f"autobahn: {len(found)} cases were run, not {cases}")
    return found


def verdicts(found):
    """One line a case: its number, how it went, and how the connection was closed."""
    cases = sorted(found, key=lambda case: [int(part) for part in case.split(".")])
    verdict = lambda case: (found[case]["behavior"], found[case]["behaviorClose"])
    return "".join(f"{case} {' '.join(verdict(case))}\n" for case in cases)


def is_allowed(case, behavior, close):
    allowed = {"OK", "INFORMATIONAL"} | ({"UNIMPLEMENTED"} if case.startswith(DECLINED) else set())
    return {behavior, close} <= allowed


def start(command, environment):
    """A server, and the address its first line names."""
    server = subprocess.Popen(
        command, env=environment, cwd=tempfile.mkdtemp(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    words = server.stdout.readline().split()
    if "on" not in words:
        raise SystemExit(f"autobahn: {command[0]} does not listen: {server.stderr.read()}")
    return server, words[words.index("on") + 1]


def echo(wstest, folder, program, everything, write):
    server, address = start([program, "0"], {})
    compressed, sections = CASES["compressed"], PLAIN + COMPRESSED
    if not everything:
        compressed, sections = len(SHORT), PLAIN + SHORT
    cases = CASES["plain"] + compressed
    try:
        reports = os.path.join(folder, "echo")
        told = verdicts(run(wstest, f"ws://{address}", reports, sections, cases))
    finally:
        server.kill()
    if write:
        with open(VERDICTS, "w") as file:
            file.write(told)
    with open(VERDICTS) as file:
        expected = file.read()
    if not everything:
        ran = {line.split()[0] for line in told.splitlines()}
        expected = "".join(line for line in expected.splitlines(True) if line.split()[0] in ran)
    wrong = [line for line in told.splitlines() if not is_allowed(*line.split())]
    changed = sorted(set(told.splitlines()) ^ set(expected.splitlines()))
    if wrong or changed:
        raise SystemExit("autobahn: the echo server's verdicts: " + "; ".join(wrong + changed))
    print(f"autobahn: echo server: {cases} cases, all as in verdicts.txt")


def product(wstest, folder, program):
    """None of its answers are echoes, so none of the verdicts count. It must be there at the end,
    let everybody go, and stop in order without having complained."""
    names = {"REVERB_APP_ID": "1", "REVERB_APP_KEY": "key", "REVERB_APP_SECRET": "secret"}
    command = [program, "start", "--host", "127.0.0.1", "--port", "0"]
    server, address = start(command, names)
    try:
        reports, url = os.path.join(folder, "product"), f"ws://{address}/app/key"
        run(wstest, url, reports, PLAIN, CASES["plain"])
        with urllib.request.urlopen(f"http://{address}/up", timeout=10) as answer:
            healthy = answer.status == 200
        server.send_signal(signal.SIGTERM)
        _, complaints = server.communicate(timeout=30)
    finally:
        server.kill()
    # That it stops is no complaint, and that cases of 64 KiB and more are refused is meant.
    meant = ("[INFO] stopping", "sent a message that is too long and was disconnected (max_message_size")
    told = complaints.splitlines()
    complaints = "; ".join(line for line in told if not any(words in line for words in meant))
    if not healthy or server.returncode != 0 or complaints:
        raise SystemExit(f"autobahn: the product: {server.returncode}, {complaints}")
    print(f"autobahn: product: {CASES['plain']} cases survived")


def main():
    folder, echo_program, product_program = map(os.path.abspath, sys.argv[1:4])
    wstest = install(folder)
    write = "--write" in sys.argv[4:]
    echo(wstest, folder, echo_program, write or "--all" in sys.argv[4:], write)
    product(wstest, folder, product_program)


if __name__ == "__main__":
    main()

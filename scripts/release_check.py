"""Does what a Space gets start and answer in an environment of its own, and is a package there known to be unsafe?

    python scripts/release_check.py     2 to 10 minutes; 6 GB in a temporary folder, which is removed at the end
"""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

from publish import NAME, ROOT, space_files

ON_A_SPACE = {"SYSTEM": "spaces", "SPACE_ID": NAME, "GRADIO_SERVER_NAME": "0.0.0.0"}  # what the hub sets there
QUESTION = ROOT / "examples" / "7_crossed_transparent.png"  # its name begins with the answer
PATIENCE = 120  # seconds until the app must have started


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write {path: content} into a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@contextlib.contextmanager
def serving(folder: Path, python: str | Path, log: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """Run the app of a folder and yield its address once it answers and has said so; what it prints goes into a file.

    Raises ValueError with a sentence, and what the app printed, where it does not start or stops answering.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "PYTHON", "VIRTUAL_ENV"))}
    environment = {**kept, "GRADIO_SERVER_PORT": str(port), **environment}
    with open(log, "wb") as printed:
        process = subprocess.Popen([python, "app.py", *arguments], cwd=folder, env=environment, stdout=printed, stderr=printed)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).read()
                if "DigitVision" in log.read_text() or time.monotonic() > deadline:
                    break  # it answers a moment before it says where
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ValueError(f"The app does not start from these files alone:\n{log.read_text()}") from error
            time.sleep(0.2)
        yield address
    except OSError as error:
        raise ValueError(f"The app stopped answering:\n{log.read_text()}") from error
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def ask(address: str, picture: Path) -> str:
    """Return the digit that a served app reads in a picture file, asked in one shot."""
    data = {"url": f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}", "meta": {"_type": "gradio.FileData"}}
    request = urllib.request.Request(f"{address}/gradio_api/run/predict", json.dumps({"data": [data]}).encode(),
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))["data"][0]["label"]


def audit(site_packages: Path) -> list[dict]:
    """Return what pip-audit knows of the packages in a folder, a dict each; raise ValueError with a sentence where it fails."""
    done = subprocess.run([sys.executable, "-m", "pip_audit", "--path", site_packages, "--format", "json",
                           "--progress-spinner", "off"], capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"pip-audit gave no answer: {done.stderr.strip()[-300:]} Check the network and run it again.") from error


def judge(packages: list[dict]) -> str:
    """Return a line on what `audit` found.

    Raises ValueError with a sentence where a package is known to be unsafe, and where none could be looked up.
    """
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    unsafe = [f"{package['name']} {package['version']} ({', '.join(each['id'] for each in package['vulns'])})"
              for package in packages if package.get("vulns")]
    if unsafe:
        raise ValueError(f"Known to be unsafe: {'; '.join(unsafe)}. Raise their bounds in requirements.txt.")
    if len(unknown) == len(packages):
        raise ValueError(f"pip-audit could look up none of {len(packages)} packages, so nothing is known of them. Run it where "
                         "the package index answers.")
    return (f"pip-audit: {len(packages) - len(unknown)} packages without a known advisory"
            + (f"; not looked up: {', '.join(unknown)}" if unknown else ""))


def main() -> int:
    """Run the checks; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        app, environment, log, start = Path(folder, "space"), Path(folder, "env"), Path(folder, "log"), time.monotonic()
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        try:
            write_files(space_files(NAME, NAME), app)
            venv.create(environment, with_pip=True, upgrade_deps=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r",
                            app / "requirements.txt"], check=True)
            print(f"installed in {time.monotonic() - start:.0f} s", flush=True)
            start = time.monotonic()
            with serving(app, python, log, **ON_A_SPACE) as address:
                print(f"started in {time.monotonic() - start:.0f} s")
                read = ask(address, QUESTION)
            print(f"{QUESTION.name} is read as {read} by {log.read_text().strip().splitlines()[-1]}", flush=True)
            if read != QUESTION.name[0]:
                raise ValueError("That is wrong. Run 'make test' to see more.")
            print(judge(audit(next(environment.rglob("site-packages")))))
        except subprocess.CalledProcessError:
            print("The requirements of the Space could not be installed; pip says why above.", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            return 130
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
    print("The release may go out.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

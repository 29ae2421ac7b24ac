"""What README and card say to type is what works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, need, run_main
from gradio_client import Client

README = (ROOT / "README.md").read_text()
CARD = (ROOT / "MODEL_CARD.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def with_address(code: str, server: str) -> str:
    return code.replace("http://127.0.0.1:7860", server)


def test_the_readme_begins_with_the_two_commands():
    body = README.split("---\n", 2)[2]
    assert [line.split("#")[0].split() for line in blocks(body, "bash")[0].splitlines()] == [["make", "app"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text()
    targets = ("app", "test", "train", "evaluate", "bench", "release-check")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("number, answer", [*enumerate(["7", "7", "7", "90210"])])
def test_the_python_of_the_readme_runs_as_written(server, number, answer):
    code = with_address(blocks(README, "python")[number], server)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and answer in done.stdout, done.stderr


def test_the_readme_tells_of_every_public_endpoint_and_shows_the_page(server):
    endpoints = Client(server, verbose=False).view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, endpoint in endpoints.items():
        assert f"| `{name}` | `{endpoint['parameters'][0]['parameter_name']}`" in README
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert 10_000 < (ROOT / picture).stat().st_size < 150_000


def test_the_javascript_of_the_readme_runs_as_written(server):
    from test_app import need_node_client
    need_node_client()
    code = with_address(blocks(README, "js")[0], server)
    done = subprocess.run([need("node"), "--input-type=module"], input=code.replace(
        '"@gradio/client"', json.dumps((ROOT / "tests/clients/node_modules/@gradio/client/dist/index.js").as_uri())),
        cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "label: '7'" in done.stdout, done.stderr


def test_the_curl_commands_of_the_readme_run_as_written(server):
    need("curl")
    shell = [with_address(code, server) for code in blocks(README, "bash") if "curl" in code]
    assert len(shell) == 2
    for code in shell:
        done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert '"label":"7"' in done.stdout.replace(" ", ""), done.stderr


def test_the_client_and_curl_of_the_card_run_as_written(server, tmp_path):
    shutil.copy(ROOT / "examples" / "7_crossed_transparent.png", tmp_path / "7.png")
    for program, code in ((sys.executable, blocks(CARD, "python")[1]), (need("bash"), blocks(CARD, "bash")[0])):
        done = subprocess.run([program, "-c", with_address(code, server)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert re.search("['\"]label['\"]: ?['\"]7", done.stdout), done.stderr


def test_every_flag_that_the_readme_shows_is_known():
    for program in ("app", "recognize", "train", "evaluate", "scripts/publish", "scripts/bulk"):
        known = set(re.findall(r"--[a-z-]+", run_main(f"{Path(program).name}.py", "--help").stdout))
        lines = re.findall(rf"python {program}\.py[^\n`]*", README + CARD)
        shown = {flag for line in lines for flag in re.findall(r"--[a-z-]+", line)}
        assert shown <= known, program


def test_the_card_has_every_part_of_the_hubs_template_and_measured_numbers_between_its_markers_alone():
    parts = re.findall(r"^## (.*)$", CARD, re.MULTILINE)
    assert parts == ["Model details", "Uses", "How to use", "Bias, risks and limits", "Training", "Results", "Sources", "Citation",
                     "Licence"]
    text = CARD.split("\n# DigitVision\n")[1]
    outside = re.sub(r"<!-- results -->.*<!-- /results -->", "", text, flags=re.DOTALL)
    assert outside != text and not re.search(r"%|0\.\d\d", outside.replace("max_error=0.001", ""))
    assert "**Out of scope**: identity documents, money" in outside and "CC BY-SA 3.0" in outside and "CC BY 4.0" in outside


def test_the_readme_claims_no_error_rate_that_the_figures_cannot_prove():
    limits = json.loads((ROOT / "weights" / "metrics.json").read_text())["limits"]["errors"]
    unproven = [row["max_error"] for row in limits if max(kind["upper"] for kind in row["kinds"].values()) > row["max_error"]]
    lines = [line for line in README.splitlines() if re.search(r"--max-error 0", line)]
    assert lines and all("aims at" in line for line in lines if float(line.split("--max-error ")[1].split()[0]) in unproven)


def test_every_figure_of_the_card_is_there():
    figures = re.findall(r"!\[.*?\]\((.*?)\)", CARD)
    drawn = {path.relative_to(ROOT).as_posix() for path in (ROOT / "weights" / "figures").glob("*.png")}
    assert len(figures) == len(drawn) and set(figures) == drawn


def test_the_tests_that_security_md_names_are_there():
    """A name that is followed by dots is the beginning of one."""
    there = re.findall(r"def (test_\w+)\(", "".join(file.read_text() for file in (ROOT / "tests").glob("*.py")))
    named = re.findall(r"`(test_\w+)`(\.\.\.)?", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 30
    assert [name for name, rest in named if not any(test.startswith(name) if rest else test == name for test in there)] == []

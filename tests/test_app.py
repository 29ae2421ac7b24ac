"""The API on a real server, asked by the real clients; and the flags of app.py."""

import ast
import base64
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from conftest import ROOT, free_port, heed_ctrl_c, make_field, make_number, make_sketch, need, run_main, run_program
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

PICTURE = ROOT / "examples" / "7_crossed_transparent.png"
DIGITS = "0123456789"


def numbers(label: dict) -> list[float]:
    """Return the ten probabilities of Gradio's Label, by digit."""
    confidences = {row["label"]: row["confidence"] for row in label["confidences"]}
    return [confidences[digit] for digit in DIGITS]


def data_url(content: bytes, kind: str = "image/png") -> dict:
    return {"url": f"data:{kind};base64,{base64.b64encode(content).decode()}", "meta": {"_type": "gradio.FileData"}}


def post(server: str, path: str, body: bytes, kind: str = "application/json") -> tuple[int, dict]:
    """Return (status, JSON) of a POST."""
    request = urllib.request.Request(f"{server}/gradio_api/{path}", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def run(server: str, value, endpoint: str = "predict") -> tuple[int, dict]:
    """Return (status, JSON) of the one-shot door."""
    return post(server, f"run/{endpoint}", json.dumps({"data": [value]}).encode())


@pytest.fixture(scope="module")
def client(server):
    return Client(server, verbose=False)


@pytest.fixture(scope="module")
def expected(recognizer):
    return recognizer.read(PICTURE).probabilities


# the contract: endpoint, what goes in, and the components whose JSON comes out
ENDPOINTS = {"/predict": (["image"], ["Label"]), "/explain": (["image"], ["Json", "Gallery", "Image"]),
             "/predict_batch": (["images"], ["Api"]), "/read_number": (["image", "rule"], ["Json"])}


def test_the_public_endpoints_are_those_of_the_contract(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    found = {name: ([parameter["parameter_name"] for parameter in endpoint["parameters"]],
                    [value["component"] for value in endpoint["returns"]]) for name, endpoint in endpoints.items()}
    assert found == ENDPOINTS


def test_every_endpoint_is_described_with_shapes_and_ranges(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, words in (("/predict", "0 to 1"), ("/explain", "28x28 pixels"), ("/predict_batch", "up to 64"),
                        ("/predict_batch", "one bad"), ("/read_number", "x, y, width, height in pixels")):
        assert words in endpoints[name]["description"]


@pytest.mark.parametrize("endpoint", ["/predict", "/explain", "/read_number"])
def test_the_example_in_the_description_of_the_api_can_be_run_as_it_stands(server, endpoint, monkeypatch):
    """Where there is a picture of that name."""
    described = json.loads(urllib.request.urlopen(server + "/gradio_api/info").read())["named_endpoints"][endpoint]
    assert "http" not in json.dumps(described["parameters"]) and "ublicly" not in json.dumps(described["parameters"])
    monkeypatch.chdir(ROOT)
    found = {}
    exec(described["code_snippets"]["python"], found)
    assert "7" in str(found["result"])


def test_the_python_client_gets_label_and_ten_confidences(client, expected):
    label = client.predict(handle_file(PICTURE), api_name="/predict")
    assert label["label"] == "7" and np.allclose(numbers(label), expected, atol=1e-6)
    confidences = [row["confidence"] for row in label["confidences"]]
    assert confidences == sorted(confidences, reverse=True)  # to the last bit they are the other process's, with its threads
    assert np.allclose(confidences, sorted(expected, reverse=True), atol=1e-6)


def test_curl_in_one_shot_gets_the_same_numbers(server, expected):
    body = json.dumps({"data": [data_url(PICTURE.read_bytes())]})
    done = subprocess.run([need("curl"), "-s", "-X", "POST", f"{server}/gradio_api/run/predict", "-H",
                           "Content-Type: application/json", "-d", "@-"], input=body, capture_output=True, text=True, timeout=30)
    assert np.allclose(numbers(json.loads(done.stdout)["data"][0]), expected, atol=1e-6)


def test_curl_by_way_of_the_queue_gets_the_same_numbers(server, expected):
    curl = [need("curl"), "-s", "-m", "30"]
    upload = subprocess.run([*curl, "-F", f"files=@{PICTURE}", f"{server}/gradio_api/upload"], capture_output=True, text=True)
    body = json.dumps({"data": [{"path": json.loads(upload.stdout)[0], "meta": {"_type": "gradio.FileData"}}]})
    call = subprocess.run([*curl, f"{server}/gradio_api/call/predict", "-H", "Content-Type: application/json", "-d", body],
                          capture_output=True, text=True)
    stream = subprocess.run([*curl, "-N", f"{server}/gradio_api/call/predict/{json.loads(call.stdout)['event_id']}"],
                            capture_output=True, text=True).stdout
    event, data = stream.strip().splitlines()[-2:]
    assert event == "event: complete"
    assert np.allclose(numbers(json.loads(data.removeprefix("data: "))[0]), expected, atol=1e-6)


def need_node_client() -> None:
    """Skip where @gradio/client is not installed, except under CI."""
    if not (ROOT / "tests" / "clients" / "node_modules").is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run npm ci --prefix tests/clients first")


def node(server: str, file) -> dict:
    need_node_client()
    done = subprocess.run([need("node"), ROOT / "tests" / "clients" / "predict.mjs", server, file], capture_output=True, text=True,
                          timeout=60)
    return json.loads(done.stdout)


def test_the_javascript_client_gets_the_same_numbers(server, expected):
    assert np.allclose(numbers(node(server, PICTURE)), expected, atol=1e-6)


def test_explain_says_what_the_page_says_and_shows_how(client, recognizer):
    facts, stages, ink = client.predict(handle_file(PICTURE), api_name="/explain")
    reading = recognizer.read(PICTURE)
    assert facts == {"verdict": "digit", "digit": "7", "confidence": pytest.approx(reading.confidence, abs=1e-6),
                     "candidates": reading.candidates, "message": reading.message, "version": recognizer.version}
    assert [stage["caption"] for stage in stages] == ["Grey", "Ink", "Cleaned", "Cut out", "Seen, 28x28"]
    assert np.array_equal(np.asarray(Image.open(stages[-1]["image"]).convert("L")), reading.seen)
    assert Image.open(ink).size == (280, 280)


def test_pictures_of_an_answer_lie_at_the_address_that_was_asked(server):
    """Whoever asked before, and at whatever address; a proxy says in a header which one it was."""
    body = json.dumps({"data": [data_url(PICTURE.read_bytes())]}).encode()
    for _ in range(2):
        for said, address in (({}, server), ({"X-Forwarded-Host": "digits.example"}, "http://digits.example"),
                              ({"X-Forwarded-Host": "digits.example", "X-Forwarded-Proto": "https"}, "https://digits.example"),
                              ({"Host": "another.example"}, "http://another.example")):
            request = urllib.request.Request(f"{server}/gradio_api/run/explain", body, {"Content-Type": "application/json", **said})
            with urllib.request.urlopen(request, timeout=30) as answer:
                _, stages, ink = json.load(answer)["data"]
            urls = [ink["url"], *(stage["image"]["url"] for stage in stages)]
            assert len(urls) > 3 and all(url.startswith(f"{address}/gradio_api/file=") for url in urls)


def test_explain_shows_a_picture_without_ink_as_it_was_looked_at(client, tmp_path):
    Image.new("RGB", (60, 60), "white").save(tmp_path / "blank.png")
    facts, stages, ink = client.predict(handle_file(tmp_path / "blank.png"), api_name="/explain")
    assert (facts["verdict"], facts["digit"], facts["candidates"]) == ("blank", None, []) and "no ink" in facts["message"]
    assert stages and ink is None


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A picture file of the number 1047, and how it is read without a server."""
    from fields import FieldReader, to_json
    file = tmp_path_factory.mktemp("field") / "1047.png"
    Image.fromarray(make_number("1,047")[0]).save(file)
    return file, to_json(FieldReader.from_pretrained().read(file))


def alike(one: dict, other: dict) -> bool:
    """Say whether two answers of /read_number are the same, but for what processes round differently."""
    def rounded(value):
        if isinstance(value, dict):
            return {key: rounded(part) for key, part in value.items() if key not in ("alternatives", "version")}
        if isinstance(value, list):
            return [rounded(part) for part in value]
        return round(value, 3) if isinstance(value, float) else value
    return rounded(one) == rounded(other)


def test_a_number_is_read_by_every_client_in_the_same_way(server, client, field, recognizer):
    file, expected = field
    answer = client.predict(handle_file(file), api_name="/read_number")
    assert answer["text"] == "1047" and answer["display"] == "1,047" and answer["version"] == recognizer.version
    assert alike(answer, expected)
    for data in ([data_url(file.read_bytes())], [data_url(file.read_bytes()), None], [data_url(file.read_bytes()), ""]):
        status, envelope = post(server, "run/read_number", json.dumps({"data": data}).encode())
        assert status == 200 and alike(envelope["data"][0], expected)
    call = {"image": data_url(file.read_bytes()), "rule": r"\d+"}
    status, started = post(server, "call/v2/read_number", json.dumps(call).encode())
    stream = urllib.request.urlopen(f"{server}/gradio_api/call/v2/read_number/{started['event_id']}", timeout=30).read().decode()
    assert "event: complete" in stream and '"text": "1047"' in stream


def test_a_rule_goes_with_the_picture_and_one_that_is_none_is_a_sentence(server, client, field):
    file, _ = field
    answer = client.predict(handle_file(file), r"\d{3}[0-4]", api_name="/read_number")
    assert answer["by_rule"] and answer["ink_text"] == "1047" and re.fullmatch(r"\d{3}[0-4]", answer["text"])
    with pytest.raises(AppError, match=r"The rule \( cannot be read at its end") as error:
        client.predict(handle_file(file), "(", api_name="/read_number")
    status, envelope = post(server, "run/read_number", json.dumps({"data": [data_url(file.read_bytes()), "("]}).encode())
    assert status == 500 and envelope["error"] == error.value.message
    for rule in (["1"], {"a": 1}, True, "1" * 500):  # a number is taken for its digits
        status, envelope = post(server, "run/read_number", json.dumps({"data": [data_url(file.read_bytes()), rule]}).encode())
        assert status == 500 and envelope["error"].endswith("."), rule


def test_a_call_names_the_arguments_that_there_are(server, field):
    picture = data_url(field[0].read_bytes())
    for call in ({"rule": "1"}, {"image": picture, "colour": 1}, {"image": picture, "rule": "1", "more": 1}):
        status, answer = post(server, "call/v2/read_number", json.dumps(call).encode())
        assert status == 400 and answer["error"].startswith('This is no call. Send JSON, {"image": ...}')


def test_null_is_no_number_and_blank_paper_has_a_verdict(server, client, tmp_path):
    status, answer = post(server, "run/read_number", b'{"data": [null]}')
    assert status == 200 and answer["data"] == [None]
    Image.new("RGB", (60, 60), "white").save(tmp_path / "blank.png")
    assert client.predict(handle_file(tmp_path / "blank.png"), api_name="/read_number")["verdict"] == "blank"


def test_a_batch_keeps_its_order_and_one_bad_picture_spoils_no_other(client, recognizer, tmp_path):
    (tmp_path / "notes.png").write_text("this is no picture")
    Image.new("RGB", (60, 60), "white").save(tmp_path / "blank.png")
    files = [PICTURE, tmp_path / "notes.png", ROOT / "examples" / "3_lined_paper.jpg", tmp_path / "blank.png"]
    answers = client.predict([handle_file(file) for file in files], api_name="/predict_batch")
    alone = client.predict(handle_file(PICTURE), api_name="/predict")
    assert list(answers[0]) == list(alone) and [row["label"] for row in answers[0]["confidences"]] == [
        row["label"] for row in alone["confidences"]] and np.allclose(numbers(answers[0]), numbers(alone), atol=1e-6)
    assert np.allclose(numbers(answers[2]), recognizer.read(files[2]).probabilities, atol=1e-6)
    assert [answers[1], answers[3]] == [{"error": recognizer.read(file).message} for file in (files[1], files[3])]


def test_a_batch_takes_data_urls_too_and_no_more_than_64(server, expected):
    picture = data_url(PICTURE.read_bytes())
    status, answer = run(server, [picture] * 64, "predict_batch")
    assert status == 200 and len(answer["data"][0]) == 64
    assert np.allclose(numbers(answer["data"][0][63]), expected, atol=1e-6)
    status, answer = run(server, [picture] * 65, "predict_batch")
    assert status == 500 and answer["error"] == "These are 65 pictures, more than 64. Send them in several calls."


def test_a_sketchpad_value_gets_the_same_numbers(expected):
    from app import predict
    value = {"background": None, "layers": [], "composite": Image.open(PICTURE)}
    assert np.allclose(list(predict(value).values()), expected, atol=1e-6)


@pytest.mark.parametrize("name, content, words", [
    ("notes.png", b"this is no picture", "not a picture that can be read"),
    ("empty.png", b"", "empty"),
    ("blank.png", None, "no ink"),
])
def test_an_error_reaches_every_client_in_the_same_words(server, client, tmp_path, name, content, words):
    file = tmp_path / name
    Image.new("RGB", (60, 60), "white").save(file) if content is None else file.write_bytes(content)
    with pytest.raises(AppError, match=words) as error:
        client.predict(handle_file(file), api_name="/predict")
    status, answer = run(server, data_url(file.read_bytes()))
    assert status == 500 and answer["error"] == error.value.message
    if shutil.which("node") and (ROOT / "tests" / "clients" / "node_modules").is_dir():
        assert node(server, file) == {"error": error.value.message}


def test_null_and_an_empty_pad_give_an_empty_label(server):
    from app import predict
    status, answer = run(server, None)
    assert status == 200 and answer["data"] in ([None], [{}])
    blank = Image.new("RGBA", (280, 280), "white")
    untouched = {"background": None, "layers": [], "composite": None}
    cleared = {"background": blank, "layers": [blank], "composite": blank}
    assert predict(None) is predict(untouched) is predict(cleared) is None


def test_a_damaged_data_url_is_refused_in_a_sentence(server):
    status, answer = run(server, {"url": "data:image/png;base64,§§§", "meta": {"_type": "gradio.FileData"}})
    assert status == 500 and "base64" in answer["error"]


@pytest.mark.parametrize("endpoint", ["predict", "explain", "predict_batch", "read_number"])
def test_a_file_of_the_server_and_a_url_are_refused_in_a_sentence(server, endpoint):
    no_path, no_url = "A path on the server is no picture of yours. Send the file.", "A URL is not fetched here. Send the file,"
    for meta in ({}, {"meta": {"_type": "gradio.FileData"}}):
        for value, sentence in (({"path": str(PICTURE)}, no_path), ({"path": "/etc/nothing"}, no_path),
                                ({"path": "https://127.0.0.1:1/7.png"}, no_url), ({"url": "http://127.0.0.1:1/7.png"}, no_url)):
            value = {**value, **meta}
            status, answer = run(server, [value] if endpoint == "predict_batch" else value, endpoint)
            error = answer["data"][0][0]["error"] if endpoint == "predict_batch" else answer["error"]
            assert error.startswith(sentence), (value, error)


def test_no_endpoint_takes_the_value_of_the_pad(client):
    """Gradio itself would open its files; the page sends the drawing as a picture like any other."""
    pads = {component["id"] for component in client.config["components"] if component["type"] in ("sketchpad", "imageeditor")}
    assert pads and not any(pads & set(dependency["inputs"]) for dependency in client.config["dependencies"])


@pytest.mark.parametrize("endpoint", ["predict", "explain", "predict_batch", "read_number"])
def test_json_of_the_wrong_shape_is_refused_in_a_sentence(server, endpoint):
    shapes = [5, True, "7.png", {}, {"path": 5}, {"path": "\0"}, {"composite": str(PICTURE)}, [[5]], {"url": {}}]
    for body in ([], *([value] for value in shapes)):
        status, answer = post(server, f"run/{endpoint}", json.dumps({"data": body}).encode())
        errors = [answer["error"]] if status == 500 else [row["error"] for row in answer["data"][0]]
        assert all(error.startswith("This is no ") and ". Send " in error for error in errors), (body, errors)


def test_the_python_client_is_told_that_a_url_is_not_fetched(client):
    with pytest.raises(AppError, match="A URL is not fetched here. Send the file"):
        client.predict(handle_file("http://127.0.0.1:1/7.png"), api_name="/predict")


def test_the_description_says_what_is_answered_when_there_is_nothing_to_read():
    from app import predict
    assert all(words in " ".join(predict.__doc__.split()) for words in ("which an empty sketch pad", "without ink", "ten prob"))


def test_transparency_16_bits_and_exif_survive_the_upload(client, recognizer):
    for name in ("5_light_on_transparent.png", "8_sixteen_bit_grey.png", "4_photo_sideways_exif.jpg", "7_plain_red_marker.webp"):
        file = ROOT / "examples" / name
        label = client.predict(handle_file(file), api_name="/predict")
        assert np.allclose(numbers(label), recognizer.read(file).probabilities, atol=1e-6), name


def test_a_name_that_lies_about_the_format_changes_nothing(client, tmp_path, expected):
    for name in ("seven.gif", "seven.svg", "seven"):
        shutil.copy(PICTURE, tmp_path / name)
        assert np.allclose(numbers(client.predict(handle_file(tmp_path / name), api_name="/predict")), expected, atol=1e-6)


def test_drawings_of_every_size_are_read(client, tmp_path):
    for size in (28, 280, 1500):
        Image.fromarray(make_sketch(pad=size, width=max(2, size // 14))).save(tmp_path / "7.png")
        assert client.predict(handle_file(tmp_path / "7.png"), api_name="/predict")["label"] == "7"


@pytest.mark.parametrize("arguments, words", [
    (["--weights", "README.md"], "no safetensors file"),
    (["--port", "many"], "'many' is no port. Give a number from 1 to 65535."),
    (["--port", "99999"], "'99999' is no port"),
])
def test_what_the_user_can_mend_is_a_sentence_and_exit_code_2(arguments, words):
    done = run_main("app.py", "--port", str(free_port()), *arguments)  # the usual one may be in use: by this very app
    assert done.returncode == 2 and words in done.stderr


def test_a_refusal_is_all_that_the_program_prints():
    done = run_program("app.py", "--port", str(free_port()), "--weights", "missing", GRADIO_SERVER_NAME="")  # empty is not set
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.strip() == "No weights at missing. Run 'make train', or name another folder with --weights."


def test_a_busy_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_main("app.py", "--port", port)
    assert done.returncode == 2 and done.stderr.strip() == f"Port {port} is taken. Name another one with --port."


def test_an_address_that_is_not_this_machines_is_one_sentence():
    for host in ("203.0.113.5", "no-such-host.invalid", ""):
        done = run_main("app.py", "--host", host)
        assert done.returncode == 2
        assert done.stderr.strip() == (f"This machine has no address {host!r}. Give --host 127.0.0.1, 0.0.0.0, or an address of "
                                       "its own.")


def test_a_port_of_the_environment_that_is_none_is_one_sentence():
    done = run_program("app.py", GRADIO_SERVER_PORT="many")
    assert done.returncode == 2
    assert done.stderr.strip() == ("GRADIO_SERVER_PORT is no port. Give it a number from 1 to 65535, or take it out of the "
                                   "environment.")


def test_gradios_own_environment_names_host_and_port_and_ipv6_is_served_and_no_file_is_left_behind(tmp_path):
    from signal import SIGINT

    from app import parse
    assert parse(["--host", "[::1]"]).host == parse(["--host", "::1"]).host == "::1"
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
            host, address = "[::1]", "[::1]"
        except OSError:  # this machine has no IPv6
            host = address = "127.0.0.1"
    port = free_port()
    process = subprocess.Popen([sys.executable, ROOT / "app.py"], cwd="/", text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE,
                               env={**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": host,
                                    "GRADIO_ROOT_PATH": "/digits", "GRADIO_TEMP_DIR": str(tmp_path)}, preexec_fn=heed_ctrl_c)
    assert f"http://{address}:{port}" in process.stdout.readline()
    # a proxy in front takes the prefix off, or leaves it there; the card's figures are found wherever the server was started
    for path in ("/", "/digits/", "/digits/config", "/digits/gradio_api/file=weights/figures/mistakes.png"):
        assert urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=20).status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://{address}:{port}/digits/gradio_api/file=http://127.0.0.1:1/7.png", timeout=20)
    assert any(tmp_path.rglob("*.png"))  # the examples, and what is uploaded
    process.send_signal(SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and stderr.strip() == "Stopped." and not any(tmp_path.rglob("*.*"))


def test_a_data_url_over_the_limit_is_refused_before_it_is_decoded():
    import answers
    import calls
    big = {"path": None, "url": "DATA:image/png;base64," + "A" * (answers.MAX_FILE * 4 // 3 + 8)}
    assert str(calls.decode(big)) == "This is larger than 20 MB. Make the picture smaller and send it again."


def test_the_last_stage_of_an_explanation_is_what_the_network_saw_in_the_end(recognizer):
    from app import explain
    from preprocess import see
    field = make_field("4", "0", gap=-1)  # its neighbours are cut off in a second look
    reading = recognizer.read(field)
    facts, stages, _ = explain(field)
    assert np.array_equal(stages[-1][0], reading.seen) and not np.array_equal(see(field), reading.seen)
    assert facts["digit"] == reading.digit == "4"


@pytest.fixture(scope="module")
def mcp_server(tmp_path_factory):
    """The address of `python app.py --mcp`; skips where the extra is not installed, except under CI."""
    if importlib.util.find_spec("mcp") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run pip install -r requirements-mcp.txt first")
    port = free_port()
    place = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen([sys.executable, "app.py", "--mcp", "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE,
                               text=True, env={**os.environ, "TMPDIR": str(place)})
    assert any(line.startswith("DigitVision") for line in process.stdout)  # after what Gradio says of MCP
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)
    assert not any(place.iterdir())  # what was sent is gone, and so is all that Gradio made for itself


def test_an_mcp_client_finds_the_tools_and_gets_the_same_numbers(mcp_server, expected):
    import asyncio

    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call(tool: str, **arguments):
        async with streamable_http_client(f"{mcp_server}/gradio_api/mcp/") as (reader, writer, _):
            async with ClientSession(reader, writer) as session:
                await session.initialize()
                return (await session.list_tools()).tools, await session.call_tool(tool, arguments)

    url = data_url(PICTURE.read_bytes())["url"]
    tools, answer = asyncio.run(call("predict", image=url))
    assert {tool.name for tool in tools} == {"predict", "explain", "predict_batch", "read_number"}
    assert all("picture file" in tool.description or "what /predict takes" in tool.description for tool in tools)
    assert np.allclose(numbers(ast.literal_eval(answer.content[0].text)), expected, atol=1e-6)
    _, answer = asyncio.run(call("predict", image=f"data:image/png;base64,{base64.b64encode(b'no picture').decode()}"))
    assert answer.isError and "not a picture that can be read" in answer.content[0].text
    _, answer = asyncio.run(call("predict_batch", images=[url, "http://127.0.0.1/7.png", "7.png"]))
    first, *others = ast.literal_eval(answer.content[0].text)
    assert np.allclose(numbers(first), expected, atol=1e-6)
    assert [each["error"].split(" Send ")[0] for each in others] == ["A URL is not fetched here.", "This is no picture."]


def test_without_the_extra_mcp_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    done = run_main("app.py", "--mcp")
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.strip() == "MCP needs one more package. Run 'pip install -r requirements-mcp.txt', or leave --mcp out."


def test_nothing_is_sent_to_anybody(client):
    assert client.config["analytics_enabled"] is False  # by the program itself: the fixture's environment does not say so


@pytest.mark.skipif(os.name == "nt", reason="no terminal hangs up on Windows")
def test_the_folder_of_uploads_goes_when_the_terminal_does_and_is_made_where_it_is_missing(tmp_path):
    from signal import SIG_DFL, SIGHUP, signal
    process = subprocess.Popen([sys.executable, "app.py", "--port", str(free_port())], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "new" / "place")},
                               preexec_fn=lambda: signal(SIGHUP, SIG_DFL))  # also where the tests themselves run under nohup
    assert process.stdout.readline().startswith("DigitVision") and any((tmp_path / "new" / "place").rglob("*.png"))
    process.send_signal(SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 0 and not any((tmp_path / "new" / "place").glob("digitvision-*"))


def test_a_machine_without_a_folder_for_temporary_files_is_told_so_in_a_sentence():
    without = "import runpy, tempfile; tempfile._candidate_tempdir_list = list; runpy.run_path('app.py', run_name='__main__')"
    done = run_program("-c", without)
    assert done.returncode == 2 and done.stderr.startswith("No folder for temporary files") and done.stderr.count("\n") == 1


def test_a_folder_for_uploads_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_program("app.py", GRADIO_TEMP_DIR=str(tmp_path / "file" / "place"))
    assert done.returncode == 2 and done.stderr.strip().endswith("Mend that, or name another place.") and "Errno" not in done.stderr

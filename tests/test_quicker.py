"""What Gradio does once instead of for every call or page: the same answers, and nothing of one caller is told to another."""

import gradio as gr
import gradio.routes
from gradio import route_utils
from gradio.blocks import BlocksConfig
from starlette.requests import Request

import app
import quicker
from calls import Page


def test_the_addresses_of_calls_are_tried_first_and_none_is_lost():
    def paths(router) -> list[str]:
        return [path for route in router.routes
                for path in (paths(route.original_router) if hasattr(route, "original_router") else [route.path])]

    router = gradio.routes.App.create_app(app.build()).router
    before = paths(router)
    quicker.look_for_calls_first(router)
    after, ours = paths(router), [path for path in before if path.startswith(quicker.CALLS)]
    assert sorted(after) == sorted(before) and after[:len(ours)] == ours and before[:len(ours)] != ours
    assert {f"/gradio_api/{way}" for way in ("run/{api_name}", "call/{api_name}", "upload", "queue/join")} <= set(ours)


def test_a_page_of_several_routes_makes_one_web_application_before_it_is_launched(monkeypatch):
    made, create_app = [], quicker.create_app
    monkeypatch.setattr(quicker, "create_app", lambda blocks, **options: made.append(create_app(blocks, **options)) or made[-1])
    with Page() as page:
        gr.Markdown("One")
    with page.route("Two"):
        gr.Markdown("Two")
    page.queue()
    assert [page.app] == made
    page.launch(prevent_thread_lock=True, quiet=True)
    page.close()
    assert len(made) == 2 and page.app is made[1]


def test_an_address_is_remembered_by_all_that_gradio_makes_it_of():
    asked = set()

    class Watched(dict):
        def get(self, name, default=None):
            asked.add(name.lower())
            return super().get(name, default)

        __getitem__ = get

    request = Request({"type": "http", "method": "GET", "path": "/config", "query_string": b"", "headers": [],
                       "server": ("here", 80), "scheme": "http"})
    request._headers = Watched({"host": "here", "x-forwarded-host": "a.example", "x-forwarded-proto": "https"})
    assert quicker.address_of(request, "/config", "/root") == "https://a.example/root"
    assert asked - {"host"} <= set(quicker.FORWARDED)  # else one caller's address would be told to another; host is in the URL
    assert {"x-forwarded-host", "x-forwarded-proto"} <= asked


def test_a_component_is_described_as_gradio_would_and_nobodys_value_is_remembered():
    page = app.build()
    for number, block in page.blocks.items():
        assert quicker.described(number, [], block) == quicker.describe(number, [], block)
    block = next(block for block in page.blocks.values() if isinstance(block, gr.Textbox))
    known = quicker.described(block._id, [], block)
    known["props"]["value"] = known["id"] = "mine"  # as Gradio puts a caller's own into it
    assert quicker.described(block._id, [], block) == quicker.describe(block._id, [], block)
    assert BlocksConfig.config_for_block is quicker.described and route_utils.get_root_url is quicker.known_address


def test_addresses_that_callers_make_up_are_not_kept_for_ever(monkeypatch):
    def ask(host: str) -> str:
        headers = [(b"host", b"a"), (b"x-forwarded-host", host.encode())]
        request = Request({"type": "http", "scheme": "http", "path": "/x", "query_string": b"", "headers": headers})
        return quicker.known_address(request, "/x", None)

    monkeypatch.setattr(quicker, "addresses", {})
    assert ask("h" * 1000) == "http://" + "h" * 1000 and not quicker.addresses  # too long
    for number in range(3 * quicker.ADDRESSES // 2):
        assert ask(f"host{number}") == f"http://host{number}"
    assert len(quicker.addresses) == quicker.ADDRESSES // 2

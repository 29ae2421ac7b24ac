"""What Gradio does anew for every call or page, done once: its answers stay the same."""

import functools

from gradio import route_utils
from gradio.blocks import BlocksConfig
from gradio.routes import App

ADDRESSES, LONGEST_ADDRESS = 1000, 500  # of the page that are remembered: how many, and of how many characters
FORWARDED = ("x-forwarded-host", "x-forwarded-proto", "x-gradio-server")  # headers of a proxy that change an address
CALLS = tuple(f"/gradio_api/{door}" for door in ("run/", "call/", "queue/", "upload"))


def let_everybody_in(router) -> None:
    """Ask no caller whether he has logged in: nobody has to here, and Gradio asks it in a thread for every request."""
    for route in router.routes:
        if hasattr(route, "dependencies"):  # of a route of the app's own, and of what becomes of one that was included
            route.dependencies = [each for each in route.dependencies if each.dependency.__name__ != "login_check"]
            route.dependant.dependencies = [each for each in route.dependant.dependencies if each.call.__name__ != "login_check"]
        if inner := getattr(route, "original_router", None):  # of a router that was included
            let_everybody_in(inner)


def look_for_calls_first(router) -> None:
    """Put the addresses of calls before all others: FastAPI tries one after the other, and fifty were in front."""
    def is_call(route) -> bool:
        inner = getattr(route, "original_router", None)  # of a router that was included
        return any(map(is_call, inner.routes)) if inner else getattr(route, "path", "").startswith(CALLS)

    router.routes.sort(key=is_call, reverse=True)  # stable: calls, and all others, stay in their order
    for route in router.routes:
        if inner := getattr(route, "original_router", None):
            look_for_calls_first(inner)


# Gradio describes every component of the page anew for every caller: half of its work in a call, and none of ours ever changes
describe = BlocksConfig.config_for_block
describe_once = functools.cache(lambda block: describe(block._id, [], block))


def described(number, rendered, block, renderable=None):
    """Return the description of a component, in which a value may be put; where no caller `rendered` any, a remembered one."""
    if rendered or renderable:
        return describe(number, rendered, block, renderable)
    known = describe_once(block)
    return {**known, "props": {**known["props"]}}


# and it parses, in every call, the address that it was asked at
address_of = route_utils.get_root_url
addresses: dict[tuple, str] = {}


def known_address(request, route_path, root_path):
    """Return the address of the page, without a slash at its end, as a request asks for it; a remembered one where it can be."""
    asked = (str(request.url), route_path, root_path, *map(request.headers.get, FORWARDED))
    if (known := addresses.get(asked)) is None:
        known = address_of(request, route_path, root_path)
        if len(addresses) >= ADDRESSES:
            addresses.clear()
        if len("".join(filter(None, asked))) <= LONGEST_ADDRESS:
            addresses[asked] = known
    return known


# and it makes the whole web application anew for every page that is added, a tenth of a second each, though only launch's serves
create_app = App.create_app


def create_when_needed(blocks, **options):
    """Return the web application of a page: a new one for launch, which has more to say about it, else the one there is."""
    building = options.keys() == {"mcp_server"} and hasattr(blocks, "app")
    return blocks.app if building else create_app(blocks, **options)


BlocksConfig.config_for_block = staticmethod(described)
route_utils.get_root_url = known_address
App.create_app = staticmethod(create_when_needed)

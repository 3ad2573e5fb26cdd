"""Each operator route stands in the one table of roles (gateway/operators/roles.py), and nothing else does."""

from litestar import Litestar, Router, get
from litestar.di import Provide

from gateway.office.operator_routes import OPERATOR_ROUTES
from gateway.operators.roles import PREFIX, ROUTES


def routes_of(handlers: list[object]) -> set[str]:
    """`METHOD /path` of each route, below the operator's prefix."""
    desk = {"desk": Provide(lambda: None, sync_to_thread=False)}
    app = Litestar([Router(PREFIX, route_handlers=handlers, dependencies=desk)], openapi_config=None)  # type: ignore[arg-type]
    return {
        f"{method} {route.path_format.removeprefix(PREFIX)}"
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method not in ("OPTIONS", "HEAD")
    }


def test_each_operator_route_has_its_roles_and_each_role_its_route() -> None:
    assert routes_of([*OPERATOR_ROUTES]) ^ set(ROUTES) == set()


def test_a_route_without_a_role_is_found() -> None:
    @get("/unheard-of", sync_to_thread=False)
    def planted() -> None: ...

    assert routes_of([*OPERATOR_ROUTES, planted]) - set(ROUTES) == {"GET /unheard-of"}

"""The structure that ARCHITECTURE.md draws: imports run downwards, and no files import each other in a circle."""

from tests.structure.graph import circles, graph

# From the top: a part may import those below it, and of its own group only itself.
LAYERS: list[set[str]] = [
    {"config.asgi", "config.wsgi", "config.urls", "config.gunicorn"},
    {"config.threads"},
    {"benchmarks"},
    {"api.starter"},
    {"api.dialects", "api.studio"},
    {"api.system"},
    {"api.images", "api.scoring", "api.chat", "api.vision"},
    {"api.safety"},
    {"api.runtime"},
    {"api.library", "api.webhooks"},
    {"api.files"},
    {"api.jobs"},
    {"api.access"},
    {"api.model_loader"},
    {"api.loading"},
    {"api.downloads", "api.devices"},
    {"config"},
    {"api.catalog"},
    {"api.spec_serializers", "api.queries"},
    {"api.strict"},
    {"api.form_data", "api.json_text", "api.problems", "api.specs", "api.model_files"},
    {"api.outages"},
    {"api.metric_definitions", "api.tracing", "api.errors", "api.ip_addresses", "api.json_types", "api.previews", "api.quotas"},
]


def part_of(module: str) -> str | None:
    """The layer's name that a module belongs to."""
    names = [name for layer in LAYERS for name in layer if module == name or module.startswith(f"{name}.")]
    return max(names, key=len, default=None)


def floor_of(module: str) -> int:
    return next(place for place, layer in enumerate(LAYERS) if part_of(module) in layer)


def test_every_file_has_its_place() -> None:
    assert [module for module in graph() if part_of(module) is None and module not in ("api", "api.migrations")] == []


def test_imports_run_downwards() -> None:
    edges = {(one, other) for one, others in graph().items() for other in others if "api" not in (one, other)}
    upwards = {(one, other) for one, other in edges if part_of(one) != part_of(other) and floor_of(other) <= floor_of(one)}
    assert upwards == set()


def test_nothing_imports_webhooks_but_what_starts_their_reader() -> None:
    importers = {one for one, others in graph().items() if any(other.startswith("api.webhooks") for other in others)}
    assert {one for one in importers if not one.startswith(("api.webhooks", "benchmarks."))} == {"config.asgi"}


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(graph()) == []

"""Who may import whom (DESIGN.md, section 2), read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "diffusers", "transformers", "onnxruntime", "compel", "safetensors", "accelerate"}
LAZILY_HEAVY = {
    "api/system/diagnosis.py",
    "api/downloads/snapshots.py",
}  # inside a function, of a command and of what only a worker calls
DJANGO = {"django", "rest_framework", "config"}
CAPABILITIES = {"images", "scoring", "chat", "vision"}
EVERYBODYS = {
    "quotas",
    "json_types",
    "problems",
    "outages",
    "strict",
    "queries",
    "json_text",
    "form_data",
    "catalog",
    "errors",
    "ip_addresses",
    "previews",
    "metric_definitions",
    "tracing",
    "specs",
    "spec_serializers",
    "model_files",
}
# What each part may import besides itself and what is everybody's. Capabilities: also their own backends, inside a function.
ALLOWED: dict[str, set[str]] = {
    "access": set(),
    "jobs": {"access"},
    "files": {"jobs", "access"},
    "library": {"files", "jobs", "access"},
    "webhooks": {"files", "jobs", "access"},
    "runtime": {"files", "jobs", "access"},
    "safety": {"runtime", "files", "jobs", "access"},
    **{name: {"safety", "runtime", "files", "jobs", "access"} for name in CAPABILITIES},
    "dialects": {"library", "files", "jobs", "access", "system", *CAPABILITIES},
    "studio": {"runtime", "library", "files", "jobs", "access", "system", *CAPABILITIES},
    "system": {"safety", "runtime", "library", "files", "jobs", "access", *CAPABILITIES},
}
WORKERS = ({path.stem for path in (ROOT / "api").glob("*.py")} | {"downloads", "loading"}) - EVERYBODYS - {"__init__"}
"""model_loader and what stands around it: imported inside a handler's `run`, or by commands, never as a web process starts."""


def modules() -> list[Path]:
    files = (ROOT / "api").rglob("*.py")
    return sorted(path for path in files if "migrations" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_marked(path: Path) -> bool:
    """[torch] in its docstring; or one of a capability's backends, or of the starter models' own tools."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return "[torch" in docstring or "/backends/" in name_of(path) or name_of(path).startswith("api/starter/")


def imports(path: Path, *, everywhere: bool) -> Iterator[str]:
    """Dotted names that a file imports; without `everywhere` only those that run when it is imported."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else at_import(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from at_import(node)


def part_of(name: str) -> str | None:
    """'api.jobs.models.Job' gives 'jobs'."""
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "api" and len(pieces) > 1 else None


def parts() -> list[tuple[Path, str]]:
    """The files of the Django apps, with their app's name."""
    return [(path, part) for path in modules() if (part := path.relative_to(ROOT).parts[1]) in ALLOWED]


def offences(found: dict[Path, set[str]]) -> dict[str, set[str]]:
    return {name_of(path): names for path, names in found.items() if names}


def test_a_part_imports_only_what_is_below_it() -> None:
    found = {
        path: {
            name
            for name in imports(path, everywhere=True)
            if part_of(name) not in ALLOWED[part] | EVERYBODYS | WORKERS | {part, None}
        }
        for path, part in parts()
    }
    assert offences(found) == {}


def test_what_only_a_worker_needs_is_imported_inside_functions() -> None:
    found = {
        path: {name for name in imports(path, everywhere=False) if part_of(name) in WORKERS}
        for path, part in parts()
        if not is_marked(path)
    }
    assert offences(found) == {}


def test_torch_is_imported_only_in_files_that_are_marked_for_it() -> None:
    found = {
        path: {name for name in imports(path, everywhere=name_of(path) not in LAZILY_HEAVY) if name.split(".")[0] in HEAVY}
        for path in modules()
        if not is_marked(path)
    }
    assert offences(found) == {}


def test_a_backend_never_touches_django() -> None:
    found = {
        path: {name for name in imports(path, everywhere=True) if name.split(".")[0] in DJANGO}
        for path in modules()
        if "/backends/" in name_of(path) or WORKERS & {path.stem, path.parent.name}
    }
    assert offences(found) == {}


def test_a_capability_never_imports_anothers_models_or_views() -> None:
    found = {
        path: {
            name
            for name in imports(path, everywhere=True)
            if part_of(name) in CAPABILITIES - {part} and ".backends" not in name
        }
        for path, part in parts()
        if part in CAPABILITIES
    }
    assert offences(found) == {}

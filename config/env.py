"""Typed readers of environment variables. A wrong value stops the start with a sentence that names the variable."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from api.quotas import Quotas, read_quotas

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
DEVICE_NAME = re.compile(r"cpu|mps|cuda(:[0-9]{1,3})?")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
setting_names: set[str] = set()
"""Every variable that one of these readers was asked for: the names that mean something in .env."""
relative_paths: dict[str, str] = {}
"""As they are written, by the variable: they depend on the folder in which a process is started."""
FULL = {errno.ENOSPC, errno.EDQUOT}


def env_str(name: str, default: str = "") -> str:
    """The variable without surrounding space; an empty one counts as unset, as it does in a compose file."""
    return without_quotes(name, read(name)) or default


def read(name: str) -> str:
    setting_names.add(name)
    return os.environ.get(name, "").strip()


def without_quotes(name: str, value: str) -> str:
    """Raises ImproperlyConfigured for a value in quotes: they would be part of a folder's name, an address or a host."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        raise ImproperlyConfigured(
            f"{name} has quotes around its value. Leave them out: what set it, such as docker's --env-file, does not take them off."
        )
    return value


def env_bool(name: str, default: bool) -> bool:
    value = env_str(name).lower()
    if not value:
        return default
    if value in TRUE | FALSE:
        return value in TRUE
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def env_json_object(name: str) -> dict[str, object]:
    """From NAME, or from the file that NAME_FILE names; {} where neither is set."""
    value = env_address(name) or "{}"
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ImproperlyConfigured(f"{name} must be a JSON object.")  # without its value, which may hold a secret
    return found


def env_int(name: str, default: int, *, low: int, high: int) -> int:
    value = env_str(name)
    if not value:
        return default
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if not low <= number <= high:
        raise ImproperlyConfigured(f"{name} must be between {low} and {high}, not {number}.")
    return number


def env_seconds(name: str, default: list[float]) -> list[float]:
    """Comma-separated spans of time."""
    value = env_str(name)
    if not value:
        return default
    try:
        seconds = [float(part) for part in value.split(",")]
    except ValueError:
        seconds = [-1.0]
    if not all(0 <= number <= 2_592_000 for number in seconds):
        raise ImproperlyConfigured(f"{name} must be numbers of seconds from 0 to 2592000, such as 5,300, not {value!r}.")
    return seconds


def env_float(name: str, default: float, *, low: float, high: float) -> float:
    value = env_str(name)
    try:
        number = float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}.") from None
    if not low <= number <= high:  # so is nan
        raise ImproperlyConfigured(f"{name} must be between {low:g} and {high:g}, not {value}.")
    return number


def env_bytes(name: str, default: int | None, *, low: int = 1) -> int | None:
    """A size in bytes: '6G', '512M' or a plain number of bytes (powers of 1024)."""
    value = env_str(name).upper().removesuffix("B").removesuffix("I")
    if not value:
        return default
    digits, unit = (value[:-1], value[-1]) if value[-1] in UNITS else (value, "")
    try:
        size = int(float(digits) * UNITS[unit])
    except ValueError:
        size = -1
    if size < low:
        raise ImproperlyConfigured(f"{name} must be a size such as 6G or 512M, not {value!r}.")
    return size


def env_choice(name: str, default: str, choices: Sequence[str]) -> str:
    value = env_str(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def env_list(name: str, default: Sequence[str] = ()) -> list[str]:
    """Comma-separated values."""
    value = env_str(name)
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if value and not parts:
        raise ImproperlyConfigured(f"{name} has nothing between its commas. Name something there, or unset it.")
    return parts or list(default)


def env_quotas(name: str) -> Quotas:
    """Comma-separated limits, such as pictures_per_day=100."""
    try:
        return read_quotas(env_list(name))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


def env_devices(name: str) -> list[str]:
    """['auto'], or names of devices."""
    devices = env_list(name, ["auto"])
    if devices != ["auto"] and not all(DEVICE_NAME.fullmatch(device) for device in devices):
        raise ImproperlyConfigured(
            f"{name} must be auto, or a list of cpu, mps, cuda:0, cuda:1 ..., not {','.join(devices)!r}."
        )
    return devices


def env_path(name: str, default: Path | None = None) -> Path | None:
    value = env_str(name)
    return absolute_path(name, value) if value else default


def env_folders(name: str) -> list[Path]:
    """Comma-separated folders, each once."""
    return list(dict.fromkeys(absolute_path(name, value) for value in env_list(name)))


def absolute_path(name: str, value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        relative_paths[name] = value
    return path.absolute()


def env_secret(name: str) -> str:
    """A secret from NAME, or from the file that NAME_FILE names (as container secrets are given)."""
    value, file = read(name), env_path(f"{name}_FILE")
    if file is None:
        return value
    try:
        found = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{name}_FILE ({file}) is not UTF-8 text; save it as that.") from None
    if not found:
        raise ImproperlyConfigured(f"{name}_FILE ({file}) is empty. Write the value into it, or unset {name}_FILE.")
    return found


def env_address(name: str) -> str:
    """A secret that is a URL or JSON, and so never in quotes."""
    return without_quotes(name, env_secret(name))


def make_folder(name: str, folder: Path) -> Path:
    """The folder that the setting `name` gives, which exists afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "there is a file of that name" if isinstance(error, FileExistsError) else (error.strerror or "").lower()
        raise ImproperlyConfigured(
            f"{name} ({folder}) can't be made: {reason}. Set {name} to a folder that this account may write to."
        ) from None
    if not can_write(folder):
        raise ImproperlyConfigured(
            f"{name} ({folder}) can't be written to. Give this account the right, or set {name} to another folder."
        )
    return folder


def can_write(folder: Path) -> bool:
    """Whether files can be made in it; where it is not there yet, whether it can be made. Tried out, since the rights alone don't tell
    of a place that takes no files from anybody (/proc). One that is full does so for a moment alone.
    """
    place = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".darkroom-", dir=place))
    except OSError as error:
        return error.errno in FULL
    return True

"""The pinned packages of a requirements file."""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

PIN = re.compile(
    r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)(?: ; ([^\n\\]+?))?((?: \\\n +--hash=\S+)*)$", re.MULTILINE
)


@dataclass(frozen=True)
class Pin:
    """One version of a package, with the hashes of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def applies_here(self) -> bool:
        """Whether pip installs this pin with the running Python, on this platform."""
        return not self.marker or Marker(self.marker).evaluate()


def read_pins(path: Path) -> list[Pin]:
    """Return every pin of a file that `make pin` wrote; the second pin, of extras, is left out.

    Raises:
        ValueError: The file has no pins.
    """
    found = {
        Pin(
            canonicalize_name(name),
            release,
            marker.strip(),
            tuple(sorted(re.findall(r"--hash=sha256:(\w+)", hashes))),
        )
        for name, release, marker, hashes in PIN.findall(path.read_text("utf-8"))
    }
    if not found:
        raise ValueError(f"{path} has no pins; run `make pin`")
    return sorted(found, key=lambda pin: (pin.name, pin.version))


def list_deviations(pins: list[Pin]) -> list[str]:
    """Return a line for each pin that is not installed here in its version."""
    lines = []
    for pin in pins:
        if pin.applies_here:
            try:
                installed = version(pin.name)
            except PackageNotFoundError:
                installed = "nothing"
            if installed != pin.version:
                lines.append(f"{pin.name} {pin.version} is pinned, {installed} is installed")
    return lines

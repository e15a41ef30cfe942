"""Write every file that is derived from the contracts: `python -m expectations.derive`.

Run it after an edit of a contract; a test compares what lies on disk with what is derived.
"""

import sys
from pathlib import Path

from expectations import dbt_sources, dictionary
from expectations.contracts import contracts

ROOT = Path(__file__).resolve().parents[1]


def derived() -> dict[str, str]:
    """Return the text of every derived file, by its path below the project."""
    return {
        dbt_sources.PATH: dbt_sources.sources_yml(contracts()),
        dictionary.PATH: dictionary.dictionary(contracts()),
    }


def main() -> None:
    """Write the derived files and say which of them changed."""
    for name, text in derived().items():
        path = ROOT / name
        changed = not path.is_file() or path.read_text("utf-8") != text
        path.write_text(text, "utf-8")
        sys.stdout.write(f"{name}: {'written' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main()

"""Write every file that is derived from the contracts: `make docs`.

Run it after an edit of a contract; a test compares what lies on disk with what is derived.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from expectations import dbt_files, dictionary, restriction_table
from expectations.contracts import contracts
from expectations.outbound_contracts import derive_outbound_files

ROOT = Path(__file__).resolve().parents[1]


def derive_files() -> dict[str, str]:
    """Return the text of every derived file, by its path below the project."""
    pages = {
        dictionary.PATH: dictionary.render_dictionary(contracts()),
        restriction_table.PATH: restriction_table.render_table(contracts()),
    }
    return dbt_files.render_all(ROOT, contracts()) | pages | derive_outbound_files()


def main() -> None:
    """Write the derived files and report which of them changed."""
    write_files(derive_files())


def write_files(texts: Mapping[str, str]) -> None:
    """Write each text to its path below the project and report which of them changed."""
    for name, text in texts.items():
        path = ROOT / name
        changed = not path.is_file() or path.read_text("utf-8") != text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        sys.stdout.write(f"{name}: {'written' if changed else 'unchanged'}\n")


if __name__ == "__main__":
    main()

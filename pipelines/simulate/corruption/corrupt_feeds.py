"""Broken rows and broken files, as real feeds have them, with the key that tells each one.

Of every file a share of the rows is broken, each in one way of `flaws`, and some rows are sent
twice; each kind of `DAMAGES` befalls the same share of files. What is dirty is a function of the
seed, the file and the row.

No more than the rows that the key names is ever lost, so a figure of the clean market stays a
figure of the dirty one:

* At most half of a file's rows are broken. Ingest refuses a file that is worse, and clean rows
  would go with it.
* A damaged file comes besides the sound one, under a name that sorts behind it, with a few of its
  rows: refused, it takes nothing along; read, its rows are duplicates of those in the sound file.
* A catalogue stands until the next one, so a row missing from it would close a product, or admit
  people whom a rule refuses, for weeks. Its broken rows come besides the sound ones.
"""

from dataclasses import dataclass, field
from itertools import compress

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import IntArray
from pipelines.simulate.corruption.corrupt_rows import soiled
from pipelines.simulate.corruption.corruption_log import KEY, Sending, of_damage
from pipelines.simulate.corruption.file_corruptions import DAMAGES, QUIRKS, Damage, rewrite
from pipelines.simulate.world import World
from pipelines.simulate.write_feeds import land

FEW = 4
"""Rows of a damaged file; ingest refuses none of them for one line that is lost."""


@dataclass
class Dirt:
    """Lands the files of a world with its dirt, and keeps the answers."""

    world: World
    share: float
    """Share of rows that are broken, and of files that each kind of damage befalls; 0 to 1."""
    _answers: list[pa.Table] = field(default_factory=list)

    def land(self, sending: Sending, table: pa.Table) -> tuple[int, int]:
        """Write a file, and the damaged ones beside it.

        Returns:
            The rows of the file itself, and how many files were written.
        """
        quirks = self._befalling(QUIRKS, sending)
        sent = table
        for quirk in quirks:
            sent = quirk.table(sent, sending.contract) if quirk.table else sent
            self._answers.append(of_damage(sending, sending.file, quirk, sent.num_rows))
        sent, flawed, key = soiled(self.world.chance, sending, sent, self.share)
        self._answers.append(key)
        settings = self.world.settings
        folder = settings.landing / sending.folder
        land(sent, folder, sending.name, sending.form, settings.threads)
        if changes := [quirk.text for quirk in quirks if quirk.text]:
            rewrite(settings.landing / sending.file, changes)
        return sent.num_rows, 1 + self._land_damaged(sending, table, flawed)

    def key(self) -> pa.Table:
        """Return the answers to what was landed since they were last asked for, in their order."""
        answers = pa.concat_tables([KEY.empty_table(), *self._answers])
        self._answers.clear()
        return answers.sort_by([(name, "ascending") for name in KEY.names])

    def _land_damaged(self, sending: Sending, table: pa.Table, flawed: IntArray) -> int:
        """Write the damaged files beside a sound one; return how many."""
        sound = np.setdiff1d(np.arange(min(table.num_rows, FEW + flawed.size)), flawed)
        damages = self._befalling(DAMAGES, sending) if sound.size else []
        few = table.take(pa.array(np.resize(sound, FEW))) if damages else table
        folder = self.world.settings.landing / sending.folder
        for damage in damages:
            name = f"{sending.name}_{damage.name}"
            file = damage.write(sending.contract, few, folder, name, sending.form)
            self._answers.append(of_damage(sending, f"{sending.folder}/{file}", damage, FEW))
        return len(damages)

    def _befalling(self, kinds: tuple[Damage, ...], sending: Sending) -> list[Damage]:
        """Return the kinds that befall a file."""
        topic, number = f"befalls {kinds[0].name}", np.arange(len(kinds))
        befalls = self.world.chance.uniform(topic, sending.address, number) < self.share
        return [kind for kind in compress(kinds, befalls) if sending.form in kind.forms]

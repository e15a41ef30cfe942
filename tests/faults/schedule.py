"""The schedule of faults: drawn from a seed, the same for the same code and seed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.faults.faults import CORRUPTION, DISK_FAULTS, KILLS, LINK_FAULT, Fault

KILL_WEIGHTS = (6, 2, 2)
"""Weights of `KILLS`: most are at a disk operation, which a replay repeats exactly."""
SLOW = {"ingest", "staging", "intermediate", "features", "marts", "report"}
"""Tasks that take seconds."""
LIKE_MARTS = {"staging", "intermediate", "features"}
"""Slow tasks of which each builds a layer of the warehouse, as `marts` does before it publishes."""
QUICK = {"await_turn", "plan_ingest", "sign_off", "plan_deliver", "send", "close"}
"""Tasks that take less than half a second."""
PROOF_KILLS, KILLS_OF_SLOW, KILLS_OF_QUICK, KILLS_OF_OTHERS = 4, 1, 8, 2
"""Kills of a case of a proof, and in `make test` by the time that a task takes."""
CORRUPTED = 0.25
"""Share of the kills after which what is half-written is overwritten."""
SECONDARY = {".turn", "measurements", "metrics", "step_failures"}
"""Folders of the home that no result depends on; kills fall there less often."""
PAGE = 4096
"""Bytes of the smallest part of a disk."""


@dataclass(frozen=True)
class Profile:
    """What a task did in the undisturbed run; the schedule's faults lie within it."""

    task: str
    instances: int
    """Number of its mapped tasks; 1 if it is not mapped."""
    cpu_seconds: tuple[float, ...]
    """Of each mapped task."""
    operations: tuple[tuple[tuple[str, str], ...], ...]
    """Disk operations of each mapped task, in order: name and folder of the home."""
    folders: tuple[str, ...]
    """Folders of the home that it writes to and that existed before."""
    growth: int
    """Bytes by which the home grew."""
    needs_space: bool
    """Whether it left more behind than its cost: files, or more tables in the warehouse."""
    largest: int
    """Bytes of the largest file that it wrote, at least one page."""
    has_link: bool
    """Whether it sends files over a network."""

    @property
    def writes(self) -> bool:
        """Whether the task writes anything that counts."""
        return any(folder not in SECONDARY for _, folder in self.list_operations())

    @property
    def syncs(self) -> bool:
        """Whether the task syncs anything that counts to the disk."""
        syncs = (folder for name, folder in self.list_operations() if name == "os.fsync")
        return any(folder not in SECONDARY for folder in syncs)

    def list_operations(self) -> list[tuple[str, str]]:
        """Return the disk operations of all mapped tasks."""
        return [operation for each in self.operations for operation in each]


@dataclass(frozen=True)
class Case:
    """The faults that befall one task, one after the other; then it is run to its end."""

    task: str
    number: int
    faults: tuple[Fault, ...]
    order: tuple[int, ...]
    """Order in which its mapped tasks run in the end."""
    repeats: bool
    """Whether it is run once more after it is done."""

    @property
    def name(self) -> str:
        """The name by which the case is run alone."""
        return f"{self.task}/{self.number}"

    def __str__(self) -> str:
        steps = [f"{fault}" for fault in self.faults]
        order = f"run in order {self.order}" if len(self.order) > 1 else "run"
        steps += [order, *(["run again"] if self.repeats else [])]
        return f"{self.name}: {'; '.join(steps)}"


def draw_case(seed: int, number: int, profile: Profile, *, is_proof: bool) -> Case:
    """Return case `number` of a task.

    It has some kills and one fault of the disk: in a proof of each kind in turn, the worst of its
    kind first. Kills come in the order in which the task does its work, because a task that was
    killed at its end has little left to do.
    """
    random = Random(f"{seed}/{profile.task}/{number}")
    wanted = PROOF_KILLS if is_proof else _count_kills(profile.task)
    kills = sorted((draw_kill(random, profile) for _ in range(wanted)), key=lambda kill: kill[0])
    faults: list[Fault] = []
    for _, kill in kills:
        faults.append(kill)
        if random.random() < CORRUPTED:
            faults.append(Fault(CORRUPTION))
    kinds = (*DISK_FAULTS, LINK_FAULT) if profile.has_link else DISK_FAULTS
    kind = kinds[number % len(kinds)] if is_proof else random.choice(kinds)
    fault = draw_fault(random, profile, kind, is_worst=number < len(kinds))
    faults.insert(0 if number < len(kinds) else random.randrange(len(faults) + 1), fault)
    order = list(range(profile.instances))
    random.shuffle(order)
    return Case(
        profile.task,
        number,
        tuple(faults),
        tuple(order),
        repeats=random.random() < 0.5 and (is_proof or profile.task in QUICK),
    )


def _count_kills(task: str) -> int:
    if task in QUICK:
        return KILLS_OF_QUICK
    return KILLS_OF_SLOW if task in SLOW else KILLS_OF_OTHERS


def draw_kill(random: Random, profile: Profile) -> tuple[float, Fault]:
    """Return a kill within what the task does, and the share of its work before it."""
    (kind,) = random.choices(KILLS, KILL_WEIGHTS)
    instance = random.randrange(profile.instances)
    operations = profile.operations[instance]
    if kind == "kill_operation" and operations:
        places = Counter(operations)
        weights = [1 if folder in SECONDARY else 4 for _, folder in sorted(places)]
        (place,) = random.choices(sorted(places), weights)
        at = [index for index, operation in enumerate(operations) if operation == place]
        number = random.randrange(len(at))
        return at[number] / len(operations), Fault(kind, instance, *place, number + 1)
    share = random.random()
    if kind == "kill_write":
        return share, Fault(kind, instance, amount=_draw_size(random, 1, profile.largest))
    return share, Fault("kill_time", instance, amount=round(share, 3))


def draw_fault(random: Random, profile: Profile, kind: str, *, is_worst: bool) -> Fault:
    """Return a fault of the disk or the link.

    Args:
        random: Draws it.
        profile: What the task does.
        kind: `disk_full`, `read_only`, `fsync_fails` or `link_cut`.
        is_worst: Whether the disk has no free page, or the whole home can't be written.
    """
    instance = random.randrange(profile.instances)
    if kind == "disk_full":
        return Fault(kind, instance, amount=0 if is_worst else round(random.random(), 3))
    if kind == "read_only":
        folders = [folder for folder in profile.folders if folder not in SECONDARY]
        return Fault(kind, instance, folder="" if is_worst else random.choice(["", *folders]))
    if kind == "fsync_fails":
        synced = [each for name, each in profile.operations[instance] if name == "os.fsync"]
        counts = [at for at, folder in enumerate(synced, 1) if folder not in SECONDARY]
        return Fault(kind, instance, number=random.choice(counts or [1]))
    return Fault(kind, instance, amount=_draw_size(random, 2_000, 60_000))


def _draw_size(random: Random, least: int, most: int) -> int:
    """Return a number of bytes, evenly on a scale of powers."""
    return int(least * (most / least) ** random.random())


def describe(seed: int, cases: Sequence[Case]) -> str:
    """Return the schedule as text, one case a line."""
    return "\n".join([f"Schedule of faults, seed {seed}:", *map(str, cases)])

"""The stage graph, read from DVC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.dvc_locks import Patience, await_repository, blocking_pids, mend
from flows.locking import Notify
from nola_core.errors import NolaError

GPU_STAGES = frozenset({"embed", "duplicates", "classify", "tune", "predict", "evaluate"})
"""Stages that may use a GPU, for a tower in torch or for neighbours in FAISS."""
DATA = "data"


Why = Callable[[Any], Sequence[str]]
"""Says of a stage of DVC why it is out of date; nothing if it is not."""


@dataclass(frozen=True)
class Stage:
    """One stage of one data set, e.g. `embed@digits-clip`; `upstream` contains the addresses of the stages it reads from."""

    address: str
    name: str
    dataset: str
    upstream: tuple[str, ...]
    gpu: bool


@dataclass(frozen=True)
class Graph:
    """Stages by address, each after its upstream, and the addresses that are out of date.

    Attributes:
        stages: address -> stage.
        stale: the addresses that DVC reports as out of date.
        reasons: address of each of them -> what `why` of `read_graph` said.
    """

    stages: dict[str, Stage]
    stale: frozenset[str]
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        """The data sets, in the order of `params.yaml`."""
        return list(dict.fromkeys(stage.dataset for stage in self.stages.values()))

    def of(self, dataset: str) -> list[Stage]:
        """The stages of one data set, each after its upstream."""
        return [stage for stage in self.stages.values() if stage.dataset == dataset]

    def settled(self) -> list[Stage]:
        """The stages that certainly have nothing to do: they and all their upstream stages are up to date."""
        found: dict[str, Stage] = {}
        for address, stage in self.stages.items():
            if address not in self.stale and all(above in found for above in stage.upstream):
                found[address] = stage
        return list(found.values())


def read_graph(
    root: Path,
    *,
    datasets: Iterable[str] | None = None,
    targets: Iterable[str] | None = None,
    notify: Notify = print,
    why: Why | None = None,
) -> Graph:
    """Read the stages and their freshness from the DVC repository at `root`; wait for other running DVC commands.

    Args:
        root: the folder that contains `dvc.yaml`.
        datasets: keep only these data sets (None: all).
        targets: keep these stages (`tune` or `tune@digits`) and the stages they need (None: all).
        notify: called with a message when this waits.
        why: says which stages are out of date; without it: DVC's own status.

    Raises:
        NolaError: there is no DVC repository, `dvc.yaml` is not valid, or a data set or a target is unknown.
    """
    from dvc.lock import LockError

    never = threading.Event()
    datasets, targets = (None if names is None else list(names) for names in (datasets, targets))
    patience = Patience(root, never, notify)
    mend(root, notify)
    while True:
        await_repository(root, never, notify)
        try:
            return _read_graph(root, datasets, targets, why or _changed)
        except LockError as error:
            patience.wait(blocking_pids(str(error)))


def _read_graph(root: Path, datasets: list[str] | None, targets: list[str] | None, why: Why) -> Graph:
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            nodes = {node.addressing: node for node in repo.index.graph.nodes if isinstance(node, PipelineStage)}
            stages = _select(_stages(repo.index.graph, nodes, root), datasets, targets)
            with repo.lock:  # as in `dvc status`; with targets it would read dvc.yaml again for each of them
                reasons = {address: found for address in stages if (found := why(nodes[address]))}
    except LockError:
        raise
    except DvcException as error:
        raise NolaError(f"DVC cannot read the pipeline in {root}: {error}") from error
    return Graph(stages, frozenset(reasons), reasons)


def _changed(node: Any) -> Sequence[str]:
    return ["DVC reports a change"] if node.status(check_updates=True) else []


def _stages(graph: Any, nodes: dict[str, Any], root: Path) -> dict[str, Stage]:
    """Every pipeline stage that writes below `data/<dataset>/`, in topological order; others, such as `resolve`, are left out."""
    found: dict[str, Stage] = {}
    for address, node in nodes.items():
        dataset = _dataset(root, [Path(out.fs_path) for out in node.outs])
        if dataset is None:
            continue
        name = str(node.name).split("@", 1)[0]
        upstream = tuple(above.addressing for above in graph.successors(node))
        found[address] = Stage(address, name, dataset, upstream, name in GPU_STAGES)
    for address, stage in found.items():
        found[address] = replace(stage, upstream=tuple(above for above in stage.upstream if above in found))
    ordered: dict[str, Stage] = {}
    for address in found:
        _place(address, found, ordered)
    return ordered


def _place(address: str, found: dict[str, Stage], ordered: dict[str, Stage]) -> None:
    """Append `address` to `ordered`, its upstream before it (DVC has refused cycles already)."""
    if address in ordered:
        return
    for above in found[address].upstream:
        _place(above, found, ordered)
    ordered[address] = found[address]


def _dataset(root: Path, outs: list[Path]) -> str | None:
    """The data set of a stage, from its outputs, which are all in `data/<dataset>/`.

    The address is ambiguous: `embed@a-clip` may be role clip of `a` or a stage of `a-clip`.
    """
    folder = root / DATA
    names = {out.relative_to(folder).parts[0] for out in outs if folder in out.parent.parents}
    return names.pop() if len(names) == 1 else None


def _select(stages: dict[str, Stage], datasets: Iterable[str] | None, targets: Iterable[str] | None) -> dict[str, Stage]:
    known = dict.fromkeys(stage.dataset for stage in stages.values())
    wanted = list(known) if datasets is None else list(datasets)
    for dataset in wanted:
        if dataset not in known:
            raise NolaError(f"params.yaml has no data set {dataset!r}; it has: {', '.join(known) or 'none'}.")
    needed = {stage.address for stage in stages.values() if stage.dataset in wanted}
    if targets is not None:
        needed = {address for target in targets for address in _matches(target, [stages[a] for a in stages if a in needed])}
    for address in reversed(stages):  # every downstream stage comes before
        if address in needed:
            needed.update(stages[address].upstream)
    return {address: stage for address, stage in stages.items() if address in needed}


def _matches(target: str, stages: list[Stage]) -> list[str]:
    matches = [stage.address for stage in stages if target in (stage.address, stage.name)]
    if not matches:
        names = dict.fromkeys(stage.name for stage in stages)
        raise NolaError(f"dvc.yaml has no stage {target!r} for these data sets; it has: {', '.join(names)}.")
    return matches

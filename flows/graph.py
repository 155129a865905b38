"""The stage graph, read from DVC: the one place that imports DVC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nola_core.errors import NolaError

GPU_STAGES = frozenset({"embed", "tune", "predict"})
DATA = "data"


@dataclass(frozen=True)
class Stage:
    """One stage of one data set, e.g. `embed@digits-clip`; `upstream` holds the addresses it reads from."""

    address: str
    name: str
    dataset: str
    upstream: tuple[str, ...]
    gpu: bool


@dataclass(frozen=True)
class Graph:
    """Stages by address, each after its upstream, and the addresses DVC calls out of date."""

    stages: dict[str, Stage]
    stale: frozenset[str]

    @property
    def datasets(self) -> list[str]:
        """The data sets, in the order of `params.yaml`."""
        return list(dict.fromkeys(stage.dataset for stage in self.stages.values()))

    def of(self, dataset: str) -> list[Stage]:
        """The stages of one data set, each after its upstream."""
        return [stage for stage in self.stages.values() if stage.dataset == dataset]


def dataset_names(root: Path) -> list[str]:
    """The data sets listed in `params.yaml`.

    Raises:
        NolaError: there is no such list.
    """
    path = root / "params.yaml"
    try:
        datasets = yaml.safe_load(path.read_text()).get("datasets")
    except (OSError, AttributeError, yaml.YAMLError) as error:
        raise NolaError(f"{path} cannot be read: {error}") from error
    if not isinstance(datasets, list) or not datasets:
        raise NolaError(f"{path}: `datasets` must be a list of names, one at least.")
    return [str(name) for name in datasets]


def read_graph(root: Path, *, datasets: Iterable[str] | None = None, targets: Iterable[str] | None = None) -> Graph:
    """Read the stages and their freshness from the DVC repository at `root`.

    Args:
        root: the folder that holds `dvc.yaml`.
        datasets: keep these data sets only (None: all).
        targets: keep these stages (`tune` or `tune@digits`) and what they need (None: all).

    Raises:
        NolaError: there is no DVC repository, `dvc.yaml` is not valid, another DVC command is at work, or a data set or
            a target is unknown.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    try:
        with Repo(str(root), _wait_for_lock=True) as repo:
            nodes = {node.addressing: node for node in repo.index.graph.nodes if isinstance(node, PipelineStage)}
            stages = _select(_stages(repo.index.graph, nodes, root), datasets, targets)
            with repo.lock:  # as `dvc status` does; with targets it would read dvc.yaml once more for each of them
                stale = frozenset(address for address in stages if nodes[address].status(check_updates=True))
    except LockError as error:
        raise NolaError(f"another DVC command is at work in {root}; wait for it or stop it: {error}") from error
    except DvcException as error:
        raise NolaError(f"DVC cannot read the pipeline in {root}: {error}") from error
    return Graph(stages, stale)


def _stages(graph: Any, nodes: dict[str, Any], root: Path) -> dict[str, Stage]:
    """Every pipeline stage that writes below `data/<dataset>/`, in topological order."""
    found: dict[str, Stage] = {}
    for address, node in nodes.items():
        dataset = _dataset(root, [Path(out.fs_path) for out in node.outs])
        if dataset is None:
            continue
        name = str(node.name).split("@", 1)[0]
        upstream = tuple(above.addressing for above in graph.successors(node) if above.addressing in nodes)
        found[address] = Stage(address, name, dataset, upstream, name in GPU_STAGES)
    for stage in found.values():
        for above in stage.upstream:
            if above not in found:
                raise NolaError(f"dvc.yaml: {stage.address} reads from {above}, which must write below {DATA}/<data set>/.")
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
    """The data set a stage belongs to: all it writes lies in `data/<dataset>/`.

    The address alone does not tell: `embed@a-clip` may be role clip of `a` or a stage of `a-clip`.
    """
    folder = root / DATA
    names = {out.relative_to(folder).parts[0] for out in outs if folder in out.parents}
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
    for address in reversed(stages):  # all that is downstream of a stage has been seen before it
        if address in needed:
            needed.update(stages[address].upstream)
    return {address: stage for address, stage in stages.items() if address in needed}


def _matches(target: str, stages: list[Stage]) -> list[str]:
    matches = [stage.address for stage in stages if target in (stage.address, stage.name)]
    if not matches:
        names = dict.fromkeys(stage.name for stage in stages)
        raise NolaError(f"dvc.yaml has no stage {target!r} for these data sets; it has: {', '.join(names)}.")
    return matches

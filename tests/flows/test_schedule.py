from __future__ import annotations

from flows.graph import Stage
from flows.schedule import Schedule


def chain(dataset: str) -> list[Stage]:
    names = ("prepare", "describe", "embed", "tune")
    needs = {"embed": ("prepare",), "tune": ("describe", "embed")}
    return [
        Stage(
            f"{name}@{dataset}",
            name,
            dataset,
            tuple(f"{above}@{dataset}" for above in needs.get(name, ())),
            name in ("embed", "tune"),
        )
        for name in names
    ]


def addresses(stages: list[Stage]) -> list[str]:
    return [stage.address for stage in stages]


def test_first_data_set_first_and_never_more_than_the_workers() -> None:
    schedule = Schedule([*chain("a"), *chain("b")], workers=2, gpu_slots=2)
    assert addresses(schedule.take()) == ["prepare@a", "describe@a"]
    assert schedule.take() == []
    schedule.finish("prepare@a")
    assert addresses(schedule.take()) == ["embed@a"]
    schedule.finish("describe@a")
    assert addresses(schedule.take()) == ["prepare@b"]


def test_gpu_stages_leave_the_other_workers_to_other_stages() -> None:
    schedule = Schedule([*chain("a"), *chain("b")], workers=4, gpu_slots=1)
    assert addresses(schedule.take()) == ["prepare@a", "describe@a", "prepare@b", "describe@b"]
    for address in ("prepare@a", "prepare@b", "describe@b"):
        schedule.finish(address)
    assert addresses(schedule.take()) == ["embed@a"]
    schedule.finish("embed@a")
    assert addresses(schedule.take()) == ["embed@b"]


def test_everything_runs_once() -> None:
    schedule = Schedule([*chain("a"), *chain("b")], workers=3, gpu_slots=1)
    seen: list[str] = []
    while not schedule.done:
        taken = addresses(schedule.take())
        seen += taken
        for address in taken:
            schedule.finish(address)
    assert sorted(seen) == sorted(addresses([*chain("a"), *chain("b")]))

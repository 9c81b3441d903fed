"""How workers are laid out over the nodes of a cluster, and what a node must have."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from imig.engine.groups import Group
from imig.engine.node_checks import differences
from imig.engine.node_probe import answer
from imig.engine.nodes import (
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    Node,
    NodesLostError,
    NodeWatch,
    holds_some,
    lay_out,
    require_resources,
    wait_for_nodes,
)
from imig.errors import DataError, UsageError
from imig.recipe.parts import Resources

CPUS = Node("c", "cpus", {"CPU": 8.0})
GPUS = Node("g", "gpus", {"CPU": 4.0, "GPU": 2.0, "big": 1.0})
MORE = Node("m", "more", {"CPU": 4.0, "GPU": 2.0})


def group(name: str, workers: int = 1, cpus: float = 1, gpus: float = 0, **custom: float) -> Group:
    return Group((name,), workers=workers, cpus=cpus, gpus=gpus, weights=0, custom=custom)


def shape(groups: list[Group] | None) -> str:
    return "none" if groups is None else " ".join(f"{one.workers}{one.name}" for one in groups)


@pytest.mark.parametrize(
    ("groups", "nodes", "expected"),
    [
        pytest.param([group("a", 3), group("b", 2, gpus=1)], [CPUS, GPUS], "3a 2b", id="all-fit"),
        pytest.param([group("b", 8, gpus=0.25)], [GPUS], "4b", id="cpus-of-the-node-bound-it"),
        pytest.param([group("b", 8, cpus=0, gpus=0.25)], [GPUS], "8b", id="a-share-of-a-gpu"),
        pytest.param([group("b", 3, gpus=0.6)], [GPUS], "2b", id="shares-do-not-span-gpus"),
        pytest.param(
            [group("a", gpus=0.6), group("b", gpus=0.6), group("c", gpus=0.6)],
            [GPUS],
            "none",
            id="nor-do-shares-of-three-stages",
        ),
        pytest.param(
            [group("a", 2, gpus=0.4), group("b", gpus=0.6), group("c", gpus=0.6)],
            [GPUS],
            "2a 1b 1c",
            id="shares-fill-gpus",
        ),
        pytest.param([group("a", gpus=2), group("b", gpus=1)], [GPUS, MORE], "1a 1b", id="whole"),
        # the two that need no GPU leave the node with GPUs to the one that does
        pytest.param(
            [group("a", 8), group("b", 2, cpus=2, gpus=1)], [GPUS, CPUS], "8a 2b", id="gpus-last"
        ),
        pytest.param([group("a", 9)], [GPUS, MORE], "8a", id="fewer-than-asked-for"),
        pytest.param([group("a", 1, cpus=9)], [CPUS, GPUS], "none", id="none-spans-two-nodes"),
        pytest.param([group("a", 2, big=1)], [GPUS, MORE], "1a", id="custom"),
        pytest.param([group("a"), group("b", gpus=1)], [CPUS], "none", id="no-node-for-one"),
        # the first of each comes before the second of any
        pytest.param(
            [group("a", 9), group("b", cpus=4)], [GPUS, MORE], "4a 1b", id="one-of-each-first"
        ),
    ],
)
def test_workers_are_laid_out_node_by_node(
    groups: list[Group], nodes: list[Node], expected: str
) -> None:
    before = deepcopy(nodes)
    assert shape(lay_out(groups, nodes)) == expected
    assert nodes == before


@pytest.mark.parametrize(
    ("groups", "message", "cure"),
    [
        pytest.param(
            [group("a", 17)], "ask for 17 CPUs together, and Ray has 16", "a.resources.cpus",
            id="cpus-together",
        ),
        pytest.param(
            [group("a", gpus=5)], "ask for 5 GPUs together, and Ray has 4", "a.resources.gpus",
            id="gpus-together",
        ),
        pytest.param(
            [group("a", cpus=9)], "no place for the workers of a, which take 9 CPU each",
            "--num-cpus=9", id="one-worker-on-one-node",
        ),
        pytest.param(
            [group("a", 2, big=1)], "hold 1 of the 2 workers of a, which take 1 CPU, 1 big each",
            "--resources='{\"big\": 1}'", id="custom",
        ),
        pytest.param(
            [group("a", big=1), group("b", big=0.5)], "side by side", "fits beside the others",
            id="custom-of-two-stages",
        ),
        pytest.param(
            [group("a", cpus=5), group("b", cpus=5)], "side by side", "fits beside the others",
            id="pieces-of-nodes",
        ),
        pytest.param([group("a", 8), group("b", 4, gpus=1)], "", "", id="enough"),
    ],
)  # fmt: skip
def test_what_no_node_can_hold_is_refused_before_ray_waits_for_it(
    groups: list[Group], message: str, cure: str
) -> None:
    nodes = [CPUS, GPUS, MORE]
    if not message:
        require_resources(groups, nodes)
        return
    with pytest.raises(UsageError) as caught:
        require_resources(groups, nodes)
    assert message in caught.value.message
    assert cure in caught.value.cure


def test_only_nodes_that_may_hold_workers_are_asked_for_packages() -> None:
    head = Node("h", "head", {"CPU": 0.0})
    assert [holds_some(one, [group("a", big=1)]) for one in (head, CPUS, GPUS)] == [
        False, False, True,
    ]  # fmt: skip


class Cluster:
    """Nodes that come and go, and a clock that goes when somebody sleeps."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)
        self.seconds = 0.0
        self.comes_back: tuple[float, Node] | None = None

    def alive(self) -> list[Node]:
        if self.comes_back is not None and self.seconds >= self.comes_back[0]:
            self.nodes.append(self.comes_back[1])
            self.comes_back = None
        return list(self.nodes)

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize(
    ("workers", "fits"),
    [pytest.param(8, True, id="others-hold-all"), pytest.param(9, False, id="others-do-not")],
)
def test_a_lost_node_is_done_without_only_where_the_others_hold_all_workers(
    workers: int, fits: bool
) -> None:
    cluster = Cluster(CPUS, GPUS)
    watch = NodeWatch([group("a", workers)], nodes=cluster.alive, clock=cluster.clock)
    cluster.nodes.remove(GPUS)
    assert watch.look() is None, "it is not time yet"
    cluster.sleep(LOOK_SECONDS)
    if fits:
        said = watch.look()
        assert said is not None
        assert said.startswith("lost gpus: ")
        assert watch.look(now=True) is None, "said once"
    else:
        with pytest.raises(NodesLostError, match="lost gpus"):
            watch.look()


def test_a_build_waits_for_a_node_that_it_cannot_do_without() -> None:
    cluster, said = Cluster(CPUS), list[str]()
    cluster.comes_back = (100.0, GPUS)
    wanted = [group("a", 12), group("b", 2, gpus=1)]
    found = wait_for_nodes(
        wanted, said.append, nodes=cluster.alive, clock=cluster.clock, sleep=cluster.sleep
    )
    assert shape(found) == "10a 2b"
    assert said == ["waiting up to 10 minutes for a node for b"]


def test_it_does_not_wait_for_ever() -> None:
    cluster = Cluster(CPUS)
    with pytest.raises(DataError, match="a node for b") as caught:
        wait_for_nodes(
            [group("b", gpus=1)],
            lambda text: None,
            nodes=cluster.alive,
            clock=cluster.clock,
            sleep=cluster.sleep,
        )
    assert PATIENCE_SECONDS <= cluster.seconds <= PATIENCE_SECONDS + 2 * LOOK_SECONDS
    assert "finished work is kept" in caught.value.cure


@pytest.fixture
def question(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "weights").write_bytes(b"1234")
    (tmp_path / "here").touch()
    return {
        "packages": ("imig", "torch", "no-such-package"),
        "modules": ("json.decoder",),
        "paths": (str(tmp_path / "weights"), str(tmp_path)),
        "variables": ("PATH", "IMIG_NO_SUCH_VARIABLE"),
        "folder": str(tmp_path),
        "token": "here",
    }


def test_a_node_that_has_the_same_is_no_difference(question: dict[str, Any]) -> None:
    here = answer(**question)
    assert here["packages"]["torch"]
    assert here["packages"]["no-such-package"] is None
    assert here["code"]["imig"]
    assert here["variables"] == {"PATH": "set", "IMIG_NO_SUCH_VARIABLE": None}
    assert list(differences(here, answer(**question))) == []
    assert sorted(one.name for one in Path(question["folder"]).iterdir()) == ["here", "weights"]


@pytest.mark.parametrize(
    ("kind", "name", "there", "message", "cure"),
    [
        ("packages", "torch", "1.0", "torch is 1.0 there, and 2.0 here", "pip install torch==2.0"),
        ("packages", "torch", None, "torch is not installed there, and 2.0", "torch==2.0"),
        ("packages", "python", "3.1", "python is 3.1 there", "with the same Python"),
        ("code", "imig", "f00", "imig has other code there than here", "the same imig on every"),
        ("code", "mine", None, "mine cannot be imported there", "the same mine on every node"),
        ("paths", "/w", None, "/w is not there", "under the same path on every node"),
        ("paths", "/w", "3", "/w has 3 bytes there, and 4 here", "under the same path"),
        ("variables", "KEY", None, "variable KEY is set here, and not there", "before `ray start`"),
        ("output", "/o", "is not the same folder there", "the output /o is not", "storage that"),
    ],
)
def test_what_is_other_on_a_node_is_named_with_its_cure(
    kind: str, name: str, there: str | None, message: str, cure: str
) -> None:
    here: dict[str, dict[str, str | None]] = {
        "packages": {"python": "3.11", "imig": "0.1", "torch": "2.0", "dlib-bin": None},
        "code": {"imig": "abc", "mine": "def"},
        "paths": {"/w": "4"},
        "variables": {"KEY": "set", "OTHER": None},
        "output": {"/o": ""},
    }
    other = deepcopy(here)
    other["packages"]["dlib-bin"] = "1.0"  # what is not used here may be there
    other[kind][name] = there
    faults = list(differences(here, other))
    assert len(faults) == 1
    assert message in faults[0][0]
    assert cure in faults[0][1]


def test_code_is_compared_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somebodys_stages"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "stage.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    asked: dict[str, Any] = dict.fromkeys(("packages", "paths", "variables"), ())
    asked |= {"modules": ("somebodys_stages",), "folder": str(tmp_path), "token": "x"}
    before = answer(**asked)
    (package / "stage.py").write_text("A = 2\n")
    after = answer(**asked)
    assert before["code"]["imig"] == after["code"]["imig"]
    assert before["code"]["somebodys_stages"] != after["code"]["somebodys_stages"]
    assert after["output"] == {str(tmp_path): "is not the same folder there"}


@pytest.mark.parametrize("name", ["GPU", "cpu", "memory"])
def test_what_has_a_key_of_its_own_is_no_custom_resource(name: str) -> None:
    with pytest.raises(ValueError, match="give `cpus` and `gpus`"):
        Resources(custom={name: 1})


def test_without_custom_resources_a_recipe_s_record_is_as_before() -> None:
    assert "custom" not in Resources().model_dump(mode="json")

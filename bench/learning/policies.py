"""The catalogue: every policy that the bench can play, under its name, with what its result depends on."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

from banditd.bandit.policies.base import PolicySettings
from banditd.encoders.static import SHIPPED_FOLDER
from banditd.features.maps import load_feature_maps
from banditd.replay.decider import Decider
from bench.learning import ceilings, own, peers, prepared, primed
from bench.learning.cases import ROOT
from bench.learning.ceilings import FullInformation, NoExploration, known_scales
from bench.learning.own import AfterUniform, Sparse, in_process
from bench.learning.peers import base
from bench.learning.prepared import Prepared
from bench.learning.primed import AfterEvaluation

Factory = Callable[..., Decider]  # (prepared, seed), and ``settings`` where the row has its own
PREPARED: Final = Path(prepared.__file__)
# What banditd's own rows run through; services/policy.py is where the decider takes a new arm's share from.
LEARNER: Final = (
    *(ROOT / "src" / "banditd" / part for part in ("bandit", "budget", "core", "features", "replay")),
    ROOT / "src" / "banditd" / "services" / "policy.py",
    Path(own.__file__),
    PREPARED,
)
REFERENCE: Final = "thompson"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """One row of the table.

    name : as given to ``--policy``. group : ``banditd``, ``condition`` (thompson under another condition),
    ``ceiling`` (told more than a router ever is, or scored without its exploration) or ``peer``. package : import
    name, or None. reward_share : of the rows whose reward is told. first_tenth : its play there is uniform and not
    scored. in_source_order : the rows are not shuffled, so that one task follows another. sources : files whose code
    the result depends on. settings : of banditd's policy where the row sets its own; ``make`` is then given them.
    """

    name: str
    group: str
    make: Factory
    sources: tuple[Path, ...]
    settings: PolicySettings | None = None
    package: str | None = None
    wants_minilm: bool = False
    slow: bool = False
    reward_delay: int = 0
    reward_share: float = 1.0
    first_tenth: bool = False
    in_source_order: bool = False

    def decider(self, prepared: Prepared, seed: int) -> Decider:
        given = {} if self.settings is None else {"settings": self.settings}
        made = self.make(prepared, seed, **given)
        return made if self.reward_share >= 1.0 else Sparse(made, prepared, seed, self.reward_share)

    def missing(self) -> str | None:
        """Why it cannot be played here, or None."""
        if self.package is None or find_spec(self.package) is not None:
            return None
        return f"{self.package} is not installed (pip install 'banditd[bench]', or make bench-learning)"

    def fingerprint(self) -> str:
        """Hash of the row's settings and of its sources' code, the package's version and banditd's feature maps."""
        row = (self.settings, self.reward_delay, self.reward_share, self.first_tenth, self.in_source_order)
        made_by = getattr(self.make, "__qualname__", "")  # a peer's may be a partial; its module is a source
        code = _fingerprint(self.sources, self.package)
        return hashlib.sha256(f"{code} {made_by} {row!r}".encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _fingerprint(sources: tuple[Path, ...], package: str | None) -> str:
    digest = hashlib.sha256(_version(package).encode())
    digest.update(load_feature_maps(SHIPPED_FOLDER).hash.encode())
    for source in sources:
        for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(file.name.encode() + _code(file).encode())
    return digest.hexdigest()[:16]


def _code(file: Path) -> str:
    """What a file does: neither its comments, nor its docstrings, nor how it is laid out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value = ast.Constant("")
    return ast.dump(tree)


def _version(package: str | None) -> str:
    if package is None:
        return ""
    names = packages_distributions().get(package, [package])
    try:
        return version(names[0])
    except PackageNotFoundError:
        return ""


def _own(name: str, group: str = "banditd", **settings: object) -> PolicySpec:
    kind = str(settings.pop("kind", "thompson"))
    return PolicySpec(
        name=name,
        group=group,
        make=in_process,
        sources=LEARNER,
        settings=PolicySettings(kind=kind, **settings),  # type: ignore[arg-type]
    )


def _condition(
    name: str, make: Factory = in_process, module: ModuleType | None = None, **fields: object
) -> PolicySpec:
    sources = LEARNER if module is None else (*LEARNER, Path(str(module.__file__)))
    return PolicySpec(name=name, group="condition", make=make, sources=sources, **fields)  # type: ignore[arg-type]


def _ceiling(name: str, make: Factory) -> PolicySpec:
    sources = (*LEARNER, Path(str(ceilings.__file__)))
    return PolicySpec(name=f"ceiling: {name}", group="ceiling", make=make, sources=sources)


def _peers() -> list[PolicySpec]:
    return [
        PolicySpec(
            name=name,
            group="peer",
            make=make,
            sources=(Path(str(module.__file__)), Path(base.__file__), PREPARED),
            package=module.PACKAGE,
            wants_minilm=getattr(module, "WANTS_MINILM", False),
            slow=name in getattr(module, "SLOW", ()),
        )
        for module in peers.MODULES
        for name, make in module.POLICIES.items()
    ]


POLICIES: Final[tuple[PolicySpec, ...]] = (
    _own(REFERENCE),
    _own("thompson, disjoint arms", options={"model": "disjoint"}),
    _own("linucb", kind="linucb"),
    _own("squarecb", kind="squarecb"),
    _own("epsilon_greedy", kind="epsilon_greedy"),
    _own("cluster_table", kind="cluster_table"),
    _condition("thompson, priors from the randomised first 10 %", AfterUniform, first_tenth=True),
    _condition("thompson, priors from an evaluation of the first 10 %", AfterEvaluation, primed, first_tenth=True),
    _condition("thompson, rewards 100 queries late", reward_delay=100),
    _condition("thompson, rewards 1,000 queries late", reward_delay=1000),
    _condition("thompson, 30 % of rewards", reward_share=0.3),
    _condition("thompson, 3 % of rewards", reward_share=0.03),
    _condition("thompson, one task after another", in_source_order=True),
    _condition(
        "thompson without change detection, one task after another",
        settings=PolicySettings(change_detection=False),
        in_source_order=True,
    ),
    _ceiling("every arm's score is told", FullInformation),
    _ceiling("thompson, scored at its highest mean", NoExploration),
    _ceiling("thompson, scales known in advance", known_scales),
    *_peers(),
)
BY_NAME: Final = {spec.name: spec for spec in POLICIES}


def select(names: Sequence[str]) -> list[PolicySpec]:
    """Policies by name (or by what a name begins with); without names all of them.

    Raises
    ------
    ValueError : a name fits none.
    """
    chosen: list[PolicySpec] = []
    for name in names:
        fitting = (
            [spec for spec in POLICIES if spec.name == name]
            or [spec for spec in POLICIES if spec.name.startswith(name)]
            or [spec for spec in POLICIES if spec.name.lower().startswith(name.lower())]
        )
        if not fitting:
            raise ValueError(f"No policy {name!r}; there are: {'; '.join(BY_NAME)}.")
        chosen += [spec for spec in fitting if spec not in chosen]
    return chosen if names else list(POLICIES)

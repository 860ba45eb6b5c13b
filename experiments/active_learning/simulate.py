"""How many decisions does each order of reading save against random? Simulated on the corpus.

    OMP_NUM_THREADS=1 python experiments/active_learning/simulate.py configs/linear.yaml --steps 8 --seeds 5

Reviewers have read 100 groups of the train part, drawn at random. Again and again they read 100 more, chosen by

    random          a draw
    uncertain       the narratives nearest to where a flag begins, by a model of what was read so far
    diverse         the order that the desk stores (secondlook.review.learning), worked out once
    farthest point  the narrative farthest from all that was read (k-centre greedy, Sener and Savarese 2018)

and the linear evidence model is fitted on what was read. It prints the macro average precision on the development part
as mean and standard deviation over seeds, and how many narratives had to be read to reach a share of what the whole
train part gives. Two things are simpler than in real work. The vocabulary is that of the whole train part, whose words
are known before anybody has read it; and a flag begins where it begins for as many narratives as were positive among
those read, since calibrating at every step would cost more than the rest. What is done is kept in --out; a run that
was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.sparse import csr_matrix, hstack
from threadpoolctl import threadpool_limits

from secondlook.baseline import _blocks, _by_group, _fit_mode, _fit_vectoriser
from secondlook.config import LinearModelConfig, TrainConfig, load_config
from secondlook.evidence import pool
from secondlook.metrics import macro_average_precision
from secondlook.prepare import Part, load_prepared
from secondlook.review.learning import case_vectors, rounds

FIRST = BATCH = 100
LEVELS = (0.7, 0.75, 0.8, 0.85)
Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The narratives that can be read, as features, with the part that measures."""

    config: TrainConfig
    train: Part
    features: csr_matrix
    ends: Rows
    development: Part
    measured: csr_matrix
    vectors: NDArray[np.float32]

    def rows(self, narratives: Rows) -> Rows:
        """The passages of some narratives."""
        starts = self.ends - np.array([len(spans) for spans in self.train.passages])
        return np.concatenate([np.arange(starts[i], self.ends[i]) for i in narratives])

    def members(self, groups: set[str]) -> Rows:
        """The narratives of some groups."""
        return np.flatnonzero(np.isin(self.train.groups, sorted(groups)))


@dataclass(frozen=True)
class State:
    """What a strategy may look at: who was read, the model's pooled log-odds of all, and how many of each mode held."""

    read: set[str]
    scores: Array
    prevalence: Array


Strategy = Callable[[Pool, State, int], list[str]]


def main() -> None:
    """Simulate every strategy with every seed and print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("config", type=Path)
    options.add_argument("--steps", type=int, default=15)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path("runs/active_learning.json"))
    chosen = options.parse_args()
    with threadpool_limits(1):
        run(chosen.config, chosen.steps, chosen.seeds, chosen.out)


def run(path: Path, steps: int, seeds: int, out: Path) -> None:
    """Simulate and print."""
    pooled = _pool(load_config(path, TrainConfig))
    done = json.loads(out.read_text()) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    if "whole" not in done:
        done["whole"], _ = _measure(pooled, set(pooled.train.groups.tolist()), with_scores=False)
    tasks = [(name, seed, f"{name}, seed {seed}, {steps} steps") for seed in range(seeds) for name in STRATEGIES]
    for name, seed, key in track(tasks, description="simulating", console=Console(stderr=True)):
        if key not in done:
            done[key] = _curve(pooled, STRATEGIES[name], steps, seed).tolist()
            out.write_text(json.dumps(done))
    curves = {name: np.array([done[key] for other, _, key in tasks if other == name]) for name in STRATEGIES}
    _print(curves, done["whole"], pooled)


def _pool(config: TrainConfig) -> Pool:
    if not isinstance(config.model, LinearModelConfig):
        sys.exit("the simulation needs a linear model, as in configs/linear.yaml")
    prepared = load_prepared(config.data)
    train, development = prepared.part("train"), prepared.part("development")
    blocks = _blocks(train.narratives, train.passages, config.model)
    documents = _by_group(train.narratives, train.groups.tolist())
    vectorisers = {
        name: _fit_vectoriser(name, blocks["words"] if name == "context" else texts, documents, config.model)
        for name, texts in blocks.items()
    }

    def features(part: Part) -> csr_matrix:
        texts = _blocks(part.narratives, part.passages, config.model)  # type: ignore[arg-type]
        return hstack([vectorisers[name].transform(own) for name, own in texts.items()], format="csr")

    ends = np.cumsum([len(spans) for spans in train.passages])
    return Pool(
        config, train, features(train), ends, development, features(development), case_vectors(train.narratives)
    )


def _curve(pooled: Pool, strategy: Strategy, steps: int, seed: int) -> Array:
    """Narratives read and macro average precision after every batch. *Shape:* ``(steps, 2)``."""
    rng = np.random.default_rng(seed)
    read = set(rng.permutation(np.unique(pooled.train.groups))[:FIRST].tolist())
    found = []
    for step in range(steps):
        last = step + 1 == steps
        quality, state = _measure(pooled, read, with_scores=strategy is uncertain and not last)
        found.append((len(pooled.members(read)), quality))
        if not last:
            read = read | set(strategy(pooled, state, seed)[:BATCH])
    return np.array(found)


def _measure(pooled: Pool, read: set[str], with_scores: bool) -> tuple[float, State]:
    """Fit on what was read; the macro average precision on the development part, and what a strategy may know."""
    members = pooled.members(read)
    rows = pooled.rows(members)
    features = pooled.features[rows]
    targets = np.concatenate([pooled.train.targets[i] for i in members])
    modes = range(targets.shape[1])
    fitted = [_fit_mode(features, targets[:, mode], pooled.config.model, pooled.config.seed) for mode in modes]  # type: ignore[arg-type]
    weights = np.vstack([coefficient for coefficient, _ in fitted])
    intercepts = np.array([intercept for _, intercept in fitted])
    measured = _pooled(pooled.measured @ weights.T + intercepts, pooled.development, pooled.config)
    quality = macro_average_precision(pooled.development.labels, measured)
    scores = (
        _pooled(pooled.features @ weights.T + intercepts, pooled.train, pooled.config)
        if with_scores
        else np.zeros((0, len(modes)))
    )
    return quality, State(read, scores, np.nanmean(pooled.train.labels[members], axis=0))


def _pooled(scores: Array, part: Part, config: TrainConfig) -> Array:
    ends = np.cumsum([len(spans) for spans in part.passages])
    return np.array([pool(one, config.pooling) for one in np.split(scores, ends[:-1])])


def random(pooled: Pool, state: State, seed: int) -> list[str]:
    """A draw."""
    rng = np.random.default_rng([seed, len(state.read)])
    return [str(group) for group in rng.permutation(np.unique(pooled.train.groups)) if group not in state.read]


def uncertain(pooled: Pool, state: State, seed: int) -> list[str]:
    """By the distance, in standard deviations, of the mode that is nearest to where its flag begins."""
    begins = np.array(
        [np.quantile(column, 1 - share) for column, share in zip(state.scores.T, state.prevalence, strict=True)]
    )
    distance = (np.abs(state.scores - begins) / state.scores.std(axis=0)).min(axis=1)
    return _groups_in_order(pooled, np.argsort(distance, kind="stable"), state)


def diverse(pooled: Pool, state: State, seed: int) -> list[str]:
    """As the desk stores it."""
    return _groups_in_order(pooled, rounds(pooled.vectors, seed), state)


def farthest_point(pooled: Pool, state: State, seed: int) -> list[str]:
    """One after the other, each the farthest from all before it."""
    read = set(state.read)
    near = _distance_to_nearest(pooled.vectors, pooled.members(read))
    found = []
    while len(found) < BATCH:
        near[pooled.members(read)] = -1
        group = str(pooled.train.groups[near.argmax()])
        found.append(group)
        read.add(group)
        near = np.minimum(near, _distance_to_nearest(pooled.vectors, pooled.members({group})))
    return found


STRATEGIES: dict[str, Strategy] = {
    "random": random,
    "uncertain": uncertain,
    "diverse": diverse,
    "farthest point": farthest_point,
}


def _distance_to_nearest(vectors: NDArray[np.float32], chosen: Rows) -> NDArray[np.float32]:
    return 1 - (vectors @ vectors[chosen].T).max(axis=1)


def _groups_in_order(pooled: Pool, order: Rows, state: State) -> list[str]:
    return [group for group in dict.fromkeys(pooled.train.groups[order].tolist()) if group not in state.read]


def _print(curves: dict[str, Array], whole: float, pooled: Pool) -> None:
    terminal = Console(width=150)
    steps = next(iter(curves.values())).shape[1]
    every = Table(
        "groups read", *curves, title=f"Macro AP on development; all {len(pooled.train)} narratives: {whole:.3f}"
    )
    for step in range(steps):
        cells = [f"{found[:, step, 1].mean():.3f} ± {found[:, step, 1].std(ddof=1):.3f}" for found in curves.values()]
        every.add_row(str(FIRST + step * BATCH), *cells)
    terminal.print(every)
    needed = Table("to reach", *curves, title="Narratives to read (mean ± standard deviation over seeds)")
    for level in LEVELS:
        needed.add_row(f"{level:.0%} of it", *[_needed(found, level * whole) for found in curves.values()])
    terminal.print(needed)
    gaps = Table("against random", *list(curves)[1:], title="Area under the curve, difference by seed")
    gaps.add_row("macro AP", *[_gap(curves["random"], found) for name, found in curves.items() if name != "random"])
    terminal.print(gaps)


def _needed(found: Array, quality: float) -> str:
    """Narratives read when the quality is first reached, interpolated between batches."""
    counts = []
    for curve in found:
        reached = np.flatnonzero(curve[:, 1] >= quality)
        if not len(reached):
            return f"more than {found[:, -1, 0].mean():.0f}"
        at = int(reached[0])
        if not at:
            counts.append(curve[0, 0])
            continue
        (before, low), (after, high) = curve[at - 1], curve[at]
        counts.append(before + (after - before) * (quality - low) / (high - low))
    return f"{np.mean(counts):.0f} ± {np.std(counts, ddof=1):.0f}"


def _gap(random_: Array, other: Array) -> str:
    """Each strategy at the counts of narratives that random had, so that larger groups are no advantage."""
    gaps = []
    for base, curve in zip(random_, other, strict=True):
        to = min(base[-1, 0], curve[-1, 0])
        at = np.linspace(max(base[0, 0], curve[0, 0]), to, 50)
        gaps.append(float(np.mean(np.interp(at, *curve.T) - np.interp(at, *base.T))))
    return f"{np.mean(gaps):+.4f} ({min(gaps):+.4f} to {max(gaps):+.4f})"


if __name__ == "__main__":
    main()

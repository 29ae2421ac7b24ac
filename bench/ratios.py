"""What every benchmark does with its ratios: print them beside the stored ones, loudly where they got worse, and store new ones."""

import argparse
import json
from pathlib import Path

STORED = Path(__file__).parent / "ratios.json"  # {benchmark: {name: ratio}}
WORSE = 1.2  # times the stored ratio


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the flag that keeps the ratios of this run for later ones to be compared with."""
    parser.add_argument("--store", action="store_true", help=f"keep the ratios in {STORED.name}")


def compare(benchmark: str, ratios: dict[str, float], store: bool) -> list[str]:
    """Print what got worse than the stored ratios, or that nothing did; `store` replaces them. Return the names of the worse ones.

    A ratio is of times, ours to another's: smaller is better.
    """
    kept = json.loads(STORED.read_text()) if STORED.exists() else {}
    before = kept.get(benchmark, {})
    worse = [name for name, ratio in ratios.items() if name in before and ratio > WORSE * before[name]]
    for name in worse:
        print(f"\n!!! WORSE: {benchmark}, {name}: ratio {ratios[name]:.3f}, stored {before[name]:.3f}", flush=True)
    if not worse:
        print(f"\nNo ratio is more than {100 * (WORSE - 1):.0f} % worse than the stored one ({len(before)} stored).", flush=True)
    if store:
        kept[benchmark] = {**before, **{name: round(ratio, 4) for name, ratio in ratios.items()}}
        STORED.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    return worse

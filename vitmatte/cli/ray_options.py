"""The command line's options for doing a folder on Ray."""

from __future__ import annotations

import argparse

from ..shots.on_ray import Pool

ENGINES = ("plain", "ray")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `pool_of` reads."""
    parser.add_argument("--engine", choices=ENGINES, default="plain",
                        help="plain: this process; ray: many, on this machine or on a cluster (needs vitmatte[ray]; "
                             "default: %(default)s)")
    parser.add_argument("--ray-address", metavar="ADDRESS",
                        help="of a Ray cluster: auto on one of its machines, or ray://HOST:10001; its machines see all "
                             "files under the same paths (default: this machine alone)")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="for ray: processes, each with the model in memory; on this machine alone they use "
                             "as many processors (default: as many as the GPUs hold, or one for each two processors)")
    parser.add_argument("--gpus-per-worker", type=float, metavar="SHARE",
                        help="for ray: share of a GPU for each, such as 0.5 for two on one (default: 1 where there is "
                             "one)")


def pool_of(options: argparse.Namespace) -> Pool | None:
    """Where to do it; None for this process. Raises ValueError for options that do not fit together."""
    given = [name for name in ("ray_address", "workers", "gpus_per_worker") if getattr(options, name) is not None]
    if options.engine != "ray":
        if given:
            raise ValueError(f"--{given[0].replace('_', '-')} is for --engine ray")
        return None
    return Pool(options.ray_address, options.workers, options.gpus_per_worker, max(1, options.threads or 1))

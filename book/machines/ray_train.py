"""The loop of ``train.py`` under Ray Train, which starts the processes, starts them
again when a machine is lost, and lets the loop go on from its last checkpoint.

python ray_train.py --processes 8 --data /shared/shards --folder /shared/run

Data and folder must be seen by every machine.
"""

import sys
from argparse import ArgumentParser

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from train import options, train_loop


def worker(config: dict) -> None:
    """One process: Ray has made the process group, which is all that the loop needs."""
    losses = train_loop(config)
    ray.train.report({"loss": losses[-1] if losses else float("nan")})


def main(arguments: list[str]) -> None:
    parser = ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--failures", type=int, default=3)
    parser.add_argument("--storage", default=None)
    own, others = parser.parse_known_args(arguments)
    trainer = TorchTrainer(
        worker,
        train_loop_config=options(others),
        scaling_config=ScalingConfig(num_workers=own.processes, use_gpu=own.gpu),
        run_config=RunConfig(
            storage_path=own.storage,
            failure_config=FailureConfig(max_failures=own.failures),
        ),
    )
    trainer.fit()  # raises what ended the last of the attempts


if __name__ == "__main__":
    ray.init(runtime_env={"working_dir": "."})  # carries these files to the machines
    main(sys.argv[1:])

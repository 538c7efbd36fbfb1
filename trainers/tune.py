"""Tunes a model on a metric or on preferences, after trainers.train has taught it the task:

  python -m trainers.tune --config configs/tune/detect.py --workdir W

config.tune says how (big_vlm/training/policy.py). All else is as in trainers.train: a workdir that
holds a checkpoint is resumed, bit for bit, and W/samples.html shows answers with their rewards.
"""
from big_vlm import cli, compilation
from trainers import answers, train


def main(argv=None):
  args = train.parser(__doc__).parse_args(argv)
  if not args.config.get("tune"):
    raise ValueError(f"{args.config_file} has no config.tune: python -m trainers.train trains it, "
                     "and configs/tune/ has configs that tune.")
  compilation.cache()
  cli.start(args)
  train.train(args.config, args.workdir, args.profile_steps, args.resume_changed,
              answers.of_config)


if __name__ == "__main__":
  cli.run(main)

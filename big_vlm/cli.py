"""The command line of all commands: flags, --config FILE --config.field=value, readable errors.

  def main(argv=None):
    parser = cli.Parser(__doc__, config=True)
    parser.add_argument("--workdir", required=True)
    args = parser.parse_args(argv)  # args.config is a ConfigDict, changed as the flags say

  if __name__ == "__main__":
    cli.run(main)

JAX is imported where it is needed alone: a command that does not use it shows its --help at once.
"""
import argparse
import contextlib
import logging
import os
import re
import signal
import sys
import threading
import traceback

import absl.logging

from big_vlm import config_flags, cpu
from pp.names import near_miss, new_name
from pp.printable import Printable, printable, printable_lines

# (pattern of an exception's text, what a person reads): of JAX, whose own words say little, and
# which raises RuntimeError and ValueError for the same failure.
KINDS = (
    ("[A-Z_]+: .*(Gloo|NCCL|[Cc]oordination|heartbeat|[Pp]eer)|(UNAVAILABLE|DEADLINE_EXCEEDED):",
     "Another process of this run has ended, or cannot be reached any more: its own output says "
     "why. The same command, started for all processes, resumes from the newest checkpoint."),
    ("RESOURCE_EXHAUSTED: (Out of memory|.*[Aa]llocat)",
     "The memory of the device is not enough: use a smaller batch or model, or more devices. "
     "python -m tools.plan says what fits."),
    ("Unable to initialize backend|Unknown backend",
     "JAX does not find the devices: see JAX_PLATFORMS, and python -m tools.doctor."))


def run(main):
  """Runs main(); an error that a person can fix becomes one paragraph and exit status 1.

  What is printed shows names and answers of others as pp.printable does. Libraries that report
  errors of their threads, which reach the main one too, are silent.
  """
  cpu.keep_freed_memory()
  absl.logging.set_verbosity(absl.logging.WARNING)  # Orbax and TFDS log much
  with (contextlib.redirect_stdout(Printable(sys.stdout)),
        contextlib.redirect_stderr(Printable(sys.stderr))):
    if not os.environ.get("BIG_VLM_TRACEBACK"):
      sys.excepthook = lambda kind, error, trace: _background(error)  # called from C++
      sys.unraisablehook = threading.excepthook = lambda args: _background(args.exc_value)
      for name in (None, "absl", "asyncio"):
        logging.getLogger(name).addFilter(_shorten)
    try:
      main()
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      _exit(1)
    except KeyboardInterrupt:
      print("\ninterrupted", file=sys.stderr)
      _exit(128 + signal.SIGINT)
    except Exception as error:
      text = sentence(error)
      if text is None or os.environ.get("BIG_VLM_TRACEBACK"):
        traceback.print_exc()
      else:
        print(f"error: {text}\n(BIG_VLM_TRACEBACK=1 shows where in the code)", file=sys.stderr)
      _exit(1)


def sentence(error):
  """What a person reads of an error, each line cut by printable_lines(); None: it is a
  defect, of which the traceback is to be read."""
  text = str(error)
  if said := next((said for pattern, said in KINDS if re.match(pattern, text)), None):
    text = f"{said} ({printable(first_line(text), 300)})"
  elif isinstance(error, MemoryError):
    text = f"The memory of this machine is not enough. {text}"
  elif not isinstance(error, (ValueError, OSError)):
    return None
  return printable_lines(text)


def first_line(error):
  return str(error).partition("\n")[0]


def _background(error):
  """Prints the error of a thread in a line, each once; tensorstore reports a loop of asyncio that
  has ended, dozens of times, after another error."""
  line = f"{type(error).__name__}: {printable(first_line(error), 300)}"
  if line not in _seen and line != "RuntimeError: Event loop is closed":
    _seen.add(line)
    print(f"in the background: {line}", file=sys.stderr)


_seen = set()


def _shorten(record):
  """A filter of log records: no tracebacks, and nothing of Orbax, which raises what it logs."""
  if record.exc_info and "orbax" in record.pathname or record.name == "asyncio":
    return False
  record.exc_info = record.exc_text = None
  return True


def _exit(status):
  if "jax" not in sys.modules:
    sys.exit(status)
  from big_vlm import distributed  # here: it imports JAX
  distributed.exit(status)


class Parser(argparse.ArgumentParser):
  """argparse's parser, without abbreviations. An old spelling of a flag is an error that names the
  new one; an unknown flag is an error that offers the nearest one."""

  def __init__(self, description, *, config=False, distributed=False, **kwargs):
    """config: adds --config; "optional": it may be left out. distributed: adds the flags that
    start() takes."""
    super().__init__(description=description, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
    if config:
      self.add_argument("--config", required=config != "optional", metavar="FILE[:ARGUMENTS]",
                        help="config file; --config.FIELD=VALUE changes a field of it")
    if distributed:
      group = self.add_argument_group("a run of several processes")
      group.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
      group.add_argument("--num_processes", type=int, help="how many processes the run has")
      group.add_argument("--process_id", type=int, help="which of them this is, from 0")
      group.add_argument("--initialization_timeout", type=float, default=300., metavar="SECONDS",
                         help="how long to wait for the other processes (default: 300)")

  def parse_known_args(self, args=None, namespace=None):
    args = sys.argv[1:] if args is None else args
    for name in config_flags.names(args):
      if new := new_name(name, self._known()):
        self.error(f"--{name} is now --{new}")
    self._given = args
    return super().parse_known_args(args, namespace)

  def error(self, message):
    """Ends the command; what is missing may be there under another name, or without its flag."""
    if "arguments are required" in message:
      places = [a.dest for a in self._actions if not a.option_strings]
      for name in config_flags.names(self._given):
        if name in places:
          message += f". {name.upper()} is given without --{name}"
        elif name not in self._known() and not name.startswith(("config.", "noconfig.")):
          message += f". --{name} is no flag.{near_miss(name, self._known())}"
      if "--config" in message and self._given and self._given[0].partition(":")[0].endswith(".py"):
        message += f": --config {self._given[0]}"
    super().error(message)

  def parse_args(self, argv=None):
    """The flags as a namespace. With --config also config_file, "path.py:arguments", and
    config_changes, {field: value}.

    Raises ValueError or OSError for a config that cannot be read or changed so.
    """
    argv = list(map(str, sys.argv[1:] if argv is None else argv))
    args, rest = self.parse_known_args(argv)
    if getattr(args, "config", None):
      args.config_file = args.config
      args.config, args.config_changes, rest = config_flags.read(args.config, rest)
    if rest:
      name = next(config_flags.names(rest), rest[0])
      near = near_miss(name, self._known())
      fields = config_flags.fields(args.config) if getattr(args, "config", None) else ()
      if field := next((f for f in fields if f.rpartition(".")[2] == name), None):
        near = f" Did you mean --config.{field}?"
      self.error(f"unrecognized arguments: {' '.join(rest)}.{near}")
    return args

  def _check_value(self, action, value):
    if action.choices is not None and value not in action.choices:
      raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(action.choices)}."
                                           f"{near_miss(value, action.choices)}")

  def _known(self):
    return [option.removeprefix("--") for option in self._option_string_actions]


def start(args):
  """Joins the other processes of this run, for the arguments of Parser(distributed=True)."""
  from big_vlm import distributed  # here: it imports JAX
  distributed.start(args.coordinator_address, args.num_processes, args.process_id,
                    args.initialization_timeout)

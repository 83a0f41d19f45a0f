"""The extension: one record that holds all rows."""

from runtime.native import call_program, load64, native, store32, store64
from runtime.spec import Env, Extension, ProgramType, Section
from xdpsim_sample.context import RECORD_SIZE, SAMPLE_CONTEXT
from xdpsim_sample.helpers import SAMPLE_HELPERS
from xdpsim_sample.window import WINDOW_KIND

COUNT = 0
RECORDS = 8
RETURNS = 16
BATCH_SIZE = 24

TAIL_CALLS = int(Env.TAIL_CALLS)
MAP_HELPERS = frozenset({1, 2, 3})
CLOCK_HELPERS = frozenset({5})


@native
def drive(batch: int, env: int) -> int:
    """Run the program on each record of a batch: three words, a count and the addresses of records and results."""
    records = load64(batch + RECORDS)
    returns = load64(batch + RETURNS)
    count = load64(batch + COUNT)
    for i in range(count):
        store64(env + TAIL_CALLS, 33)
        store32(returns + 4 * i, call_program(records + RECORD_SIZE * i, env))
    return count


SAMPLE = ProgramType(
    name="sample",
    linux_type=None,
    context=SAMPLE_CONTEXT,
    helpers=MAP_HELPERS | CLOCK_HELPERS | {each.id for each in SAMPLE_HELPERS},
    returns=(0, 2),
    verdicts=((0, "PASS"), (1, "NOTE"), (2, "STOP")),
    driver=drive,
)

EXTENSION = Extension(
    name="sample",
    program_types=(SAMPLE,),
    helpers=SAMPLE_HELPERS,
    map_kinds=(WINDOW_KIND,),
    sections=(Section(prefix="sample", program_type="sample", parameter=True),),
)

"""Takes the extension away from an attached program, and brings it back: the same, changed, and grown."""

from dataclasses import replace

import runtime
import xdp
from runtime.spec import Helper, Prototype
from xdpsim_sample import EXTENSION, SampleHook


def changed(name: str, prototype: Prototype) -> tuple[Helper, ...]:
    """The helpers, one of them with another prototype."""
    return tuple(replace(each, prototype=prototype) if each.name == name else each for each in EXTENSION.helpers)


with runtime.load("watch.o", registry=xdp.default_registry()) as watch, SampleHook() as hook:
    attachment = hook.attach(watch.program("watch"))
    print("1.", attachment.state, hook.fire(b"quit").verdict.name)

    xdp.withdraw("sample")
    print("2.", attachment.state, hook.fire(b"quit").verdict.name, hook.fire(b"quit").absent)

    change = xdp.register(EXTENSION)
    print("3.", attachment.state, hook.fire(b"quit").verdict.name, change.resumed)

    grade = next(each.prototype for each in EXTENSION.helpers if each.name == "sample_grade")
    xdp.withdraw("sample")
    change = xdp.register(replace(EXTENSION, helpers=changed("sample_grade", replace(grade, returns=(0, 8)))))
    print("4.", attachment.state, hook.fire(b"quit").verdict.name, *change.refused)

    more = Helper(id=0x20008, name="sample_more", prototype=Prototype())
    xdp.withdraw("sample")
    change = xdp.register(replace(EXTENSION, helpers=(*EXTENSION.helpers, more)))
    print("5.", attachment.state, hook.fire(b"quit").verdict.name, change.resumed)

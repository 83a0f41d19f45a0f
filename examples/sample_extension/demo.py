"""Fires events at the sample's program, and shows what its maps hold then."""

import runtime
import xdp
from xdpsim_sample import SampleHook

with runtime.load("watch.o", registry=xdp.default_registry()) as watch, SampleHook() as hook:
    hook.attach(watch.program("watch"))
    for data in (b"hello", b"hello again, this is a long one", b"quit now"):
        print(hook.fire(data, kind=1, port=7))
    print("lengths:", [watch.maps["lengths"][age] for age in watch.maps["lengths"]])

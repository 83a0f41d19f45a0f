"""What the engine can be taught, as data: contexts, prototypes, maps, programs, extensions, the registry.

Not here: any particular context, helper or map kind.
"""

from runtime.spec.context import ContextField, ContextLayout, FieldKind
from runtime.spec.digest import described, digest
from runtime.spec.environment import ENVIRONMENT_SIZE, ClockMode, Env
from runtime.spec.extension import Extension
from runtime.spec.maps import MapFlag, MapKind, MapSpec, SpecialField, UpdateFlag
from runtime.spec.object import ObjectSpec
from runtime.spec.program import (
    AttachType,
    LineInfo,
    Parameter,
    ProgramSpec,
    ProgramType,
    Section,
    Signature,
    Subprogram,
)
from runtime.spec.prototype import (
    Arg,
    ArgType,
    Callback,
    Given,
    Helper,
    MapOp,
    NativeFunction,
    Prototype,
    ReturnType,
)
from runtime.spec.registry import Registry
from runtime.spec.structs import KernelStruct
from runtime.spec.types import (
    ArrayType,
    CType,
    EnumType,
    FloatType,
    IntType,
    Member,
    OpaqueType,
    PointerType,
    StructType,
    TypeTable,
)

__all__ = [
    "ENVIRONMENT_SIZE",
    "Arg",
    "ArgType",
    "ArrayType",
    "AttachType",
    "CType",
    "Callback",
    "ClockMode",
    "ContextField",
    "ContextLayout",
    "EnumType",
    "Env",
    "Extension",
    "FieldKind",
    "FloatType",
    "Given",
    "Helper",
    "IntType",
    "KernelStruct",
    "LineInfo",
    "MapFlag",
    "MapKind",
    "MapOp",
    "MapSpec",
    "Member",
    "NativeFunction",
    "ObjectSpec",
    "OpaqueType",
    "Parameter",
    "PointerType",
    "ProgramSpec",
    "ProgramType",
    "Prototype",
    "Registry",
    "ReturnType",
    "Section",
    "Signature",
    "SpecialField",
    "StructType",
    "Subprogram",
    "TypeTable",
    "UpdateFlag",
    "described",
    "digest",
]

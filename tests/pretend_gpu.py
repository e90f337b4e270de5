"""A GPU for a PyTorch that has none: tensors that say `cuda:0`, and are computed by the CPU.

`install()` puts it into this process, for good: ``torch.cuda.is_available()`` is true from then on.
With the folder `on_pretend_gpu` on its ``PYTHONPATH`` a process has it from the start, and so has
all that it starts, such as the kernels of notebooks.

What CUDA refuses is refused in its words: operands on two devices, `.numpy()`, a CPU generator, a
product of whole numbers. An index out of range breaks the device for good. Draws come from a stream
of their own; products are off by a rounding, as if summed in another order. It says nothing of
speed, and has no gradients, no streams, no second device.

Every tensor on it is a `DeviceTensor` around its numbers on the CPU, and every operator comes to
`run`. One door is none of PyTorch's public ones: see `install_guard`.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

HERE, CPU = torch.device("cuda:0"), torch.device("cpu")
TOTAL_BYTES = 4 * 2**30  # a small one
ROUNDING = 1e-6  # relative, of products: some ten units in the last place of fp32
aten = torch.ops.aten
DeviceError = getattr(torch, "AcceleratorError", RuntimeError)

# Operators by what they may meet.
COPIES = {"copy_", "_to_copy", "_copy_from"}  # tensors of two devices
FILLS = {"fill_", "fill", "masked_fill_", "masked_fill"}  # a number on the CPU
INDEXING = {"index", "_unsafe_index", "index_put", "index_put_"}  # indices on the CPU
LOOKUPS = INDEXING | {"embedding", "gather", "index_select", "scatter", "scatter_", "take"}
PRODUCTS = {"mm", "bmm", "mv", "dot", "addmm", "addmv", "addbmm", "baddbmm"}  # no whole numbers
WHOLE_NUMBERS = {torch.int64: "Long", torch.int32: "Int", torch.bool: "Bool"}  # in C++
LACKING = {"histogram"}  # CUDA has none


class Held:
    """Bytes on the device: each tensor has one of these, and tensors share storages."""

    holders: ClassVar[dict[int, int]] = {}  # the storage's address → how many tensors hold it
    now = most = 0

    def __init__(self, storage: torch.UntypedStorage) -> None:
        self.place, self.size = storage.data_ptr(), storage.nbytes()
        if not Held.holders.get(self.place):
            Held.now += self.size
            Held.most = max(Held.most, Held.now)
        Held.holders[self.place] = Held.holders.get(self.place, 0) + 1

    def __del__(self) -> None:
        Held.holders[self.place] -= 1
        if not Held.holders[self.place]:
            Held.now -= self.size


class DeviceTensor(torch.Tensor):
    """A tensor on the pretend GPU; `numbers` are its numbers, on the CPU."""

    numbers: Tensor
    held: Held
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, numbers: Tensor) -> DeviceTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=HERE,
        )
        made.numbers, made.held = numbers, Held(numbers.untyped_storage())
        return made

    @classmethod
    def __torch_dispatch__(cls, func, kinds, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        if (other.device, other.shape, other.dtype) != (self.device, self.shape, self.dtype):
            raise NotImplementedError("pretend GPU: .data of another shape, type or device")
        self.numbers, self.held = other.numbers, other.held

    # What looks into memory, below every operator.

    def numpy(self, *, force=False):
        if force:
            return self.detach().cpu().numpy()
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() …")

    def __array__(self, dtype=None, copy=None):
        return self.numpy()

    def tolist(self):
        return self.detach().cpu().tolist()

    def data_ptr(self):
        return self.numbers.data_ptr()

    def __repr__(self, *, tensor_contents=None):
        text = repr(self.numbers)[:-1] + ", device='cuda:0')"
        return f"Parameter containing:\n{text}" if isinstance(self, torch.nn.Parameter) else text

    def __format__(self, spec):
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def __deepcopy__(self, memo):
        copied = memo[id(self)] = self.detach().clone()
        if isinstance(self, torch.nn.Parameter):
            copied = memo[id(self)] = torch.nn.Parameter(copied, self.requires_grad)
        return copied


DeviceTensor.__name__ = DeviceTensor.__qualname__ = "Tensor"  # in what a notebook prints


class Operator:
    """What there is to know of an operator."""

    def __init__(self, func: Any) -> None:
        schema = func._schema
        self.name = schema.name.removeprefix("aten::")
        self.writes = schema.is_mutable
        self.views = any(r.alias_info and not r.alias_info.is_write for r in schema.returns)
        self.draws = torch.Tag.nondeterministic_seeded in func.tags
        self.has_parts = torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        )
        self.takes_numbers = torch.Tag.pointwise in func.tags or self.name in FILLS


operator_of = cache(Operator)


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operator: refused, or computed by the CPU and said to lie on the device."""
    operator = operator_of(func)
    if operator.has_parts:  # in inference mode they are not taken apart on the way here
        return func.decompose(*args, **kwargs)
    if operator.name == "_fused_sdp_choice":
        return 0  # by products: the fused kernels of a CPU are not those of a GPU
    tensors: list[Tensor] = []
    numbers = [numbers_of(x, tensors) for x in args]
    options = {name: numbers_of(x, tensors) for name, x in kwargs.items()}
    refuse(operator, tensors, options.get("generator"))
    stays = (options.get("device") or HERE).type == "cuda"
    if stays and "device" in options:
        options |= {"device": CPU, "pin_memory": False}
    try:
        with draws_of_its_own() if operator.draws else contextlib.nullcontext():
            result = func(*numbers, **options)
    except (IndexError, RuntimeError) as error:
        if operator.name in LOOKUPS and "out of" in str(error):
            broken_by.append(f"{operator.name}: {error}")
            raise DeviceError("CUDA error: device-side assert triggered") from error
        raise
    if operator.writes and any(t.shape != numbers_of(t, []).shape for t in tensors):
        raise NotImplementedError(f"pretend GPU: {func} changes the shape of what it writes to")
    if operator.name in PRODUCTS and result.dtype == torch.float32:
        noise = torch.randn(result.shape, generator=NOISE.manual_seed(4))  # a GPU repeats itself
        result.mul_(1 + ROUNDING * noise)
    return on_device(result, operator, tensors) if stays else result


broken_by: list[str] = []  # the first lookup out of range, after which CUDA gives only errors


def refuse(operator: Operator, tensors: list[Tensor], generator: Any) -> None:
    """Raise what CUDA would raise."""
    name = operator.name
    if broken_by:
        raise DeviceError(f"CUDA error: device-side assert triggered (by {broken_by[0]})")
    if generator is not None:
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if name in LACKING:
        raise NotImplementedError(f"Could not run 'aten::{name}' with arguments from 'CUDA'")
    if name in PRODUCTS and not (tensors[0].is_floating_point() or tensors[0].is_complex()):
        kind = WHOLE_NUMBERS.get(tensors[0].dtype, str(tensors[0].dtype))
        raise NotImplementedError(f"\"addmm_cuda\" not implemented for '{kind}'")
    on_cpu = [x for x in tensors if not isinstance(x, DeviceTensor)]
    if not on_cpu or name in COPIES:
        return
    if name == "fill_" and tensors[-1].dim() == 0:  # by the number, wherever it lies
        return
    if name in INDEXING:
        if not isinstance(tensors[0], DeviceTensor):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
        values = tensors[-1] if name.startswith("index_put") else tensors[0]
        if isinstance(values, DeviceTensor) or values.dim() == 0:
            return
    if operator.takes_numbers and all(x.dim() == 0 and x.is_cpu for x in on_cpu):
        return
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, "
        f"{HERE} and {on_cpu[0].device}! (in {name})"
    )


NOISE = torch.Generator().manual_seed(4)
RANDOM = torch.Generator().manual_seed(1)


@contextlib.contextmanager
def draws_of_its_own() -> Iterator[None]:
    """Inside, the global generator is that of the device."""
    before = torch.default_generator.get_state()
    torch.default_generator.set_state(RANDOM.get_state())
    try:
        yield
    finally:
        RANDOM.set_state(torch.default_generator.get_state())
        torch.default_generator.set_state(before)


def numbers_of(x: Any, tensors: list[Tensor]) -> Any:
    """The numbers of a tensor, or of a list of them; the tensors themselves are noted."""
    if isinstance(x, Tensor):
        tensors.append(x)
        return x.numbers if isinstance(x, DeviceTensor) else x
    return type(x)(numbers_of(y, tensors) for y in x) if type(x) in (list, tuple) else x


def on_device(x: Any, operator: Operator, tensors: list[Tensor]) -> Any:
    """What an operator gives back."""
    if isinstance(x, list | tuple):
        return type(x)(on_device(y, operator, tensors) for y in x)
    if not isinstance(x, Tensor):
        return x
    if operator.writes:  # the tensor that it wrote to; one on the CPU stays there
        return next(t for t in tensors if x is numbers_of(t, []))
    if operator.views and tensors[0].is_inference() != torch.is_inference_mode_enabled():
        with torch.inference_mode(tensors[0].is_inference()):  # a view is of its base's kind
            return DeviceTensor(x)
    return DeviceTensor(x)


REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"  # c10::impl::device_guard_impl_registry
KEPT: list[Any] = []  # what PyTorch holds no reference to


def obstacle() -> str | None:
    """Why this PyTorch can't have a pretend GPU."""
    if torch.backends.cuda.is_built():
        return "this PyTorch is built for CUDA: its own kernels stand where the pretended would"
    if sys.platform != "linux":
        return "it was tried on Linux alone"
    if not hasattr(torch._C, "_acc"):
        return "this PyTorch is too old to take a guard from Python"
    return None


def install_guard() -> None:
    """Put the guard where C++ looks for that of CUDA.

    PyTorch lets Python register a guard for the one device that is left to others (PrivateUse1);
    from there it is moved, in the table of c10/core/impl/DeviceGuardImplInterface.h.
    """

    class Guard(torch._C._acc.DeviceGuard):  # type: ignore[name-defined,misc]
        """One CUDA device, number 0."""

        def type_(self):
            return torch._C._autograd.DeviceType.CUDA

    guard, (cuda, left_to_others) = Guard(), (1, 20)  # c10::DeviceType
    KEPT.append(guard)
    if not torch._C._acc.register_python_privateuseone_device_guard(guard):
        raise RuntimeError("pretend GPU: another device has been registered")
    c10 = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    table = (ctypes.c_void_p * 21).in_dll(c10, REGISTRY)
    table[cuda], table[left_to_others] = table[left_to_others], None


def install_kernels() -> None:
    """All operators, for tensors that don't exist yet: those that do have `__torch_dispatch__`."""
    anything, library = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    anything.fallback(lambda func, *args, **kwargs: run(func, args, kwargs), "CUDA")
    KEPT.extend([anything, library])

    def kernel(func: Any) -> None:
        library.impl(func, lambda *args, **kwargs: run(func, args, kwargs), "CUDA")

    kernel(aten.copy_.default)
    for packet in (aten.arange, aten.linspace, aten.logspace, aten.eye, aten.randperm):  # resize
        for func in (getattr(packet, overload) for overload in packet.overloads()):
            taken = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CUDA")
            if not taken and any(a.name == "device" for a in func._schema.arguments):
                kernel(func)


def install_module() -> None:
    """`torch.cuda`, as far as a course asks it."""
    about = types.SimpleNamespace(
        name="Pretend GPU", major=8, minor=0, total_memory=TOTAL_BYTES, multi_processor_count=1
    )

    def answers(given: Any = None) -> Any:
        return lambda *args, **kwargs: given

    for name, answer in {
        "is_available": answers(True),
        "is_initialized": answers(True),
        "is_bf16_supported": answers(True),
        "device_count": answers(1),
        "current_device": answers(0),
        "get_device_name": answers(about.name),
        "get_device_capability": answers((about.major, about.minor)),
        "get_device_properties": answers(about),
        "mem_get_info": lambda device=None: (TOTAL_BYTES - Held.now, TOTAL_BYTES),
        "memory_allocated": lambda device=None: Held.now,
        "max_memory_allocated": lambda device=None: Held.most,
        "memory_reserved": lambda device=None: Held.most,
        "reset_peak_memory_stats": lambda device=None: setattr(Held, "most", Held.now),
        "get_rng_state": lambda device=None: RANDOM.get_state(),
        "set_rng_state": lambda state, device=None: RANDOM.set_state(state),
        "manual_seed": lambda seed: RANDOM.manual_seed(seed + 1),
        "manual_seed_all": lambda seed: RANDOM.manual_seed(seed + 1),
        **dict.fromkeys(("_lazy_init", "init", "synchronize", "empty_cache"), answers()),
        "set_device": answers(),
    }.items():
        setattr(torch.cuda, name, answer)
    torch.__future__.set_swap_module_params_on_conversion(True)  # keeps tied weights tied


def install() -> None:
    """Put the pretend GPU into this process."""
    if KEPT:
        return
    if reason := obstacle():
        raise RuntimeError(f"pretend GPU: {reason}.")
    install_guard()
    install_kernels()
    install_module()

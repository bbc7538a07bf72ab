"""CUDA graphs: the kernels of one call, recorded once for each shape and started again as one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

WARM_UP = 3  # calls before recording: libraries choose their kernels and allocate in the first ones
_recording = threading.Lock()  # torch records one graph at a time


@dataclass(frozen=True, slots=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    taken: Tensor
    given: Tensor


class CudaGraphs:
    """`work` (a tensor in, a new one out) as CUDA graphs, one for each shape that comes; callable by several threads.

    What `work` launches must depend on nothing but the shape. A call copies its input into the graph's own, and the
    result out of it, on the device; calls from other streams wait for that on the device, not on the CPU.
    """

    def __init__(self, work: Callable[[Tensor], Tensor]) -> None:
        self._work, self._lock = work, threading.Lock()
        self._recorded: dict[torch.Size, _Recorded] = {}
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def __call__(self, volumes: Tensor) -> Tensor:
        """Queue the work on the current stream and return its result."""
        with self._lock:
            if volumes.shape not in self._recorded:
                self._recorded[volumes.shape] = self._record(volumes)
            recorded = self._recorded[volumes.shape]
            torch.cuda.current_stream().wait_event(self._copied)
            recorded.taken.copy_(volumes)
            recorded.graph.replay()
            given = recorded.given.clone()
            self._copied.record()
            return given

    def _record(self, volumes: Tensor) -> _Recorded:
        taken = torch.empty_like(volumes, memory_format=torch.contiguous_format)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        taken.copy_(volumes)
        side.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with _recording:
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._work(taken)
            side.synchronize()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                given = self._work(taken)
        return _Recorded(graph, taken, given)

"""What accelerators can do at most, and what inference engines were measured to do on them.

Every number is one cell with its own source. Three conventions hold throughout:

* `flops` are **dense** peaks of the units that multiply matrices, in FLOP/s. Data sheets like to
  print twice as much: that number holds for weights of which two in four are zero ("sparsity").
  Where products of 16-bit numbers can be summed in 16 or in 32 bits at different rates (GeForce),
  the rate with sums in 32 bits is given, since that is how PyTorch multiplies by default.
* `bandwidth` and `link` are bytes/s with GB = 10^9. A link counts both directions together, and
  all links of one chip together, as vendors do; one direction has half of it.
* `memory` is the vendor's number of GB times 10^9, also where the vendor means 2^30: a few percent
  less than a program mostly finds (an A100 sold with 80 GB shows 85.2 · 10^9 bytes). `on_chip` is
  the largest level of memory on the chip, MB of 2^20 bytes there, as caches are counted.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from decodeloop.errors import UserError

UNVERIFIED = "unverified"

# Data bases, blogs, generated texts: a number that was read there alone stays unverified.
SECONDARY = (
    "aiwiki.ai",
    "fpsbench.com",
    "gpu.blog",
    "grokipedia.com",
    "hmc-tech.com",
    "huggingface.co/spaces/lambdabrendan",
    "rooflinenotes.dev",
    "sysrqmts.com",
    "waredb.com",
)

_GB = 10**9
_TERA = 1e12
_MIB = 2**20


@dataclass(frozen=True)
class Source:
    """Where a number stands, and who has seen it there."""

    document: str  # title, with the page or table
    url: str = ""  # of the document, where known
    seen: str = UNVERIFIED  # "read", "quoted by …", "computed …", or "unverified"

    @property
    def verified(self) -> bool:
        """Whether the number was found, in a document that answers for it or in a quotation."""
        return self.seen != UNVERIFIED and not self.secondary

    @property
    def secondary(self) -> bool:
        """Whether it was seen on a page that is neither a vendor's nor a well-known project's."""
        return any(page in f"{self.url} {self.seen}" for page in SECONDARY)

    def __str__(self) -> str:
        where = f"{self.document}, {self.url}" if self.url else self.document
        if self.verified:
            return f"{where} ({self.seen})"
        return f"{UNVERIFIED}; {'seen on' if self.secondary else 'to check:'} {where}"


@dataclass(frozen=True)
class Accelerator:
    """One part that one can buy or rent, and its peaks; see the module for the units.

    Raises:
        UserError: a number isn't positive, or a cell has no source.
    """

    key: str
    name: str  # the product with its form factor
    kind: str  # "GPU", "TPU", "NPU", "CPU"
    year: int  # announced
    flops: Mapping[str, float]  # dense FLOP/s by number type
    bandwidth: float  # bytes/s between the large memory and the chip
    memory: int  # bytes
    link: float | None  # bytes/s to other chips, both directions and all links together
    link_name: str
    on_chip: int | None  # bytes of the largest level on the chip
    sources: Mapping[str, Source]  # one for each cell: "year", "bandwidth", "bf16", …
    note: str = ""

    def __post_init__(self) -> None:
        for cell in self.cells:
            value = self.value(cell)
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise UserError(f"{self.key}: {cell} is {value!r}: expected a positive number.")
            if cell not in self.sources:
                raise UserError(f"{self.key}: {cell} has no source.")

    def __hash__(self) -> int:  # the mappings have none
        return hash(self.key)

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of all numbers that this part has."""
        optional = [name for name in ("link", "on_chip") if getattr(self, name) is not None]
        return ("year", *self.flops, "bandwidth", "memory", *optional)

    def value(self, cell: str) -> float:
        """The number in a cell: a type's FLOP/s, or a field."""
        value: float = self.flops[cell] if cell in self.flops else getattr(self, cell)
        return value

    @property
    def unverified(self) -> tuple[str, ...]:
        """The cells whose numbers are from memory, or from secondary pages, alone."""
        return tuple(cell for cell in self.cells if not self.sources[cell].verified)


@dataclass(frozen=True)
class PublishedFigure:
    """A decoding speed that somebody measured and published, to set beside a prediction."""

    accelerator: str  # a key of ACCELERATORS
    model: str  # a key of PRESETS
    dtype: str  # of the weights, a key of BYTES
    batch: int
    context: int  # positions in the cache, on average over the measured tokens
    tokens_per_s: float  # of all rows together
    source: Source
    engine: str
    bytes_per_weight: float  # with the scales of quantized weights, if any
    devices: int = 1  # that share the work (tensor parallelism)
    note: str = ""


def _each(groups: Mapping[str, Source]) -> dict[str, Source]:
    """Sources by cell, from sources by several cells' names in one string."""
    return {cell: source for cells, source in groups.items() for cell in cells.split()}


def _tera(**flops: float) -> dict[str, float]:
    """FLOP/s from TFLOP/s."""
    return {dtype: value * _TERA for dtype, value in flops.items()}


def _unverified(document: str, url: str = "") -> Source:
    return Source(document, url)


# The sources, by vendor. "quoted by" names a page or a file on which the number was seen together
# with the document that it comes from.

_LOCKWOOD = "https://glennklockwood.com/garden/processors"
_SCALING_BOOK = "https://github.com/jax-ml/scaling-book/blob/main"
_PYTORCH_TABLE = "PyTorch, torch/_inductor/analysis/device_info.py"
_ROOFLINE_NOTES = "https://rooflinenotes.dev/accelerators/"

_T4_SHEET = Source(
    "NVIDIA, T4 Tensor Core GPU data sheet (March 2019), p. 1",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/tesla-t4/t4-tensor-core-datasheet-951643.pdf",
    "quoted by several repositories; the data sheet prints 300 GB/s, the product page 320+",
)
_T4_BANDWIDTH = Source(
    "NVIDIA, Turing architecture white paper, table 5: 256 bits at 10 Gbit/s",
    seen="quoted by several repositories, which note that the T4 data sheet prints 300 GB/s",
)
_A10G_SHEET = Source(
    "NVIDIA and AWS, A10G data sheet (February 2022)",
    "https://d1.awsstatic.com/product-marketing/ec2/NVIDIA_AWS_A10G_DataSheet_FINAL_02_17_2022.pdf",
    "quoted by several repositories: FP32 35, TF32 35, 70 TFLOPS, 140 with sparsity",
)
_A10G_REST = _unverified(_A10G_SHEET.document, _A10G_SHEET.url)
_L4_SHEET = Source(
    "NVIDIA, L4 Tensor Core GPU data sheet and product page (sparse there: 120, 242, 485, 485)",
    "https://www.nvidia.com/en-us/data-center/l4/",
    f"quoted by {_PYTORCH_TABLE} (sparse) and others, who quote “one-half lower without sparsity”",
)
_L4_BANDWIDTH = Source(
    "Google Cloud, GPU machine types (L4: 24 GB GDDR6 @ 300 GBps)",
    seen="quoted by https://huggingface.co/spaces/Elfsong/gcp_allocator",
)
_L4_REST = Source("GPU data base entry of the L4 (2023; L2 48 MB)", "https://fpsbench.com", "read")
_A100_SHEET = Source(
    "NVIDIA, A100 Tensor Core GPU data sheet",
    "https://www.nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf",
    f"quoted by {_LOCKWOOD}/A100",
)
_A100_CACHE = Source(
    "CUDA deviceQuery on an A100-SXM4-80GB: L2 of 41,943,040 bytes, 85,198,045,184 bytes in all",
    "https://gist.github.com/gengwg/3520df2ebf8872e5ee4818367e3a4122",
    "read",
)
_A100_YEAR = Source(
    "Release dates of A100 SXM4 (May 2020: 40 GB, November 2020: 80 GB)",
    "https://huggingface.co/spaces/lambdabrendan/Lambda-LLM-Calculator/blame/main/data/gpu_specs.csv",
    "read",
)
_L40S_SHEET = Source(
    "NVIDIA, L40S data sheet (dense | sparse: 183 | 366, 362.05 | 733, 733 | 1,466)",
    seen="quoted by https://www.mullet.se/product.html?product_id=355414, with both columns",
)
_L40S_INT8 = Source(
    "GPU data base entry of the L40S (INT8 732.86 TOPS, sparse 1.47 POPS)",
    "https://hmc-tech.com/gpu/nvidia-l40s-vs-nvidia-t40",
    "read",
)
_L40S_YEAR = Source(
    "Comparison of L4 and L40S (the L40S announced in August 2023)",
    "https://grokipedia.com/page/NVIDIA_L4_vs_L40S",
    "read",
)
_L40S_CACHE = Source(
    "L2 of the L40S, 96 MB, as programs on the card see it (some data bases print 48 MB)",
    seen="quoted by several repositories that measure on an L40S",
)
_H100_WHITE = Source(
    "NVIDIA, H100 Tensor Core GPU architecture white paper (H100 SXM5)",
    seen=f"quoted by {_LOCKWOOD}/h100, dense and sparse",
)
_H100_YEAR = Source(
    "NVIDIA, announcement of Hopper, 22 March 2022",
    seen="quoted by https://grokipedia.com/page/Nvidia_H100",
)
_H100_CACHE = Source(
    "Austin et al., How to Scale Your Model, part 12, “Summary of GPU specs”",
    f"{_SCALING_BOOK}/gpus.md",
    "read",
)
_H100_PCIE = Source(
    "NVIDIA, H100 product page, PCIe column (sparse there: 756, 1,513, 3,026, 3,026)",
    "https://www.nvidia.com/en-us/data-center/h100/",
    "quoted by several repositories, which halve it: 378, 756.5, 1,513; FP32 51",
)
_H100_PCIE_BRIEF = Source(
    "NVIDIA, H100 PCIe product brief PB-11133-001 (“greater than 2,000 GBps”)",
    seen="quoted by https://manuals.plus, a copy of the brief",
)
_H100_PCIE_MEMORY = Source(
    "GPU data base entry of the H100 (PCIe card, 80 GB of HBM2e)",
    "https://hmc-tech.com/gpu/nvidia-h100-vs-nvidia-h200-sxm-vs-nvidia-gb200",
    "read",
)
_H100_PCIE_REST = _unverified("NVIDIA, H100 product page, PCIe column", _H100_PCIE.url)
_H200_SAME = Source(
    "The GH100 chip of H100 SXM5",
    seen=f"quoted by {_LOCKWOOD}/h100",
)
_H200_SYSTEM = Source(
    "MLPerf Inference v4.1, system description H200-SXM-141GBx8 (141 GB, 18 NVLinks, 900 GB/s)",
    "https://raw.githubusercontent.com/mlcommons/inference_results_v4.1/main/closed/NVIDIA/systems/H200-SXM-141GBx8_TRT_MaxQ.json",
    "read",
)
_B200_SHEET = Source(
    "NVIDIA, Blackwell data sheet, HGX B200, “Individual Blackwell GPU Specifications” (sparse)",
    seen=f"quoted by {_LOCKWOOD}/B200, dense",
)
_ADA_WHITE = Source(
    "NVIDIA, Ada GPU architecture white paper v2.1, appendix A, table 2 (FP32 accumulate, dense)",
    "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf",
    "quoted by several repositories: 165.2/330.4, 330.3/660.6, 660.6/1321.2; 1008 GB/sec",
)
_ADA_REST = Source(
    "GPU data base entry of the RTX 4090",
    "https://waredb.com/processor/nvidia-geforce-rtx-4090",
    "read",
)
_GA102_WHITE = Source(
    "NVIDIA, Ampere GA102 architecture white paper v2, appendix A, table 9 (FP32 accumulate)",
    "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf",
    "quoted by several repositories: TF32 35.6, FP16 71/142 (71.2 in a later paper), INT8 284",
)
_RTX3090_SPECS = Source(
    "NVIDIA, specifications of the RTX 3090 (35.6 TFLOPS, 936 GB/s, 24 GB, L2 6 MB, 2020)",
    seen="quoted by "
    "https://holynerdvana.blogspot.com/2022/10/nvidia-geforce-rtx-3090-specifications.html",
)
_GA102_REST = _unverified(_GA102_WHITE.document, _GA102_WHITE.url)
_PCIE_4 = Source("PCIe 4 x16: 32 GB/s in each of two directions", f"{_LOCKWOOD}/A100", "read")
_PCIE = _unverified("The part's data sheet; PCIe x16: 16, 32, 64 GB/s a direction for Gen3, 4, 5")

_MI300X_SHEET = Source(
    "AMD, Instinct MI300X data sheet (without sparsity)",
    "https://www.amd.com/content/dam/amd/en/documents/instinct-tech-docs/data-sheets/amd-instinct-mi300x-data-sheet.pdf",
    f"quoted by {_PYTORCH_TABLE}",
)
_MI300X_CACHE = Source(
    "ServeTheHome on the MI300X (256 MB Infinity Cache)",
    "https://servethehome.com/amd-instinct-mi300x-gpu-and-mi300a-apus-launched-for-ai-era/3",
    "read",
)
_MI300X_YEAR = Source("Accelerator catalogue, launch 2023-12-06", _ROOFLINE_NOTES, "read")
_MI300X_LINK = Source(
    "GPU data base entry of the MI300X (Infinity Fabric, 896 GB/s)",
    "https://gpu.blog/gpus/instinct-mi300x-mi300x",
    "read",
)
_MI250X_SPECS = Source(
    "AMD, table of the MI200 series (matrix FP32 95.7, FP16 and BF16 383.0, INT8 383.0 TOPS)",
    seen="quoted by "
    "https://zexron.com/amd-mi250-x-aldebaran-as-mcm-with-up-to-479-teraflop-s-and-560-watt-tdp",
)
_MI250X_LINK = Source(
    "GPU data base entry of the MI250X (Infinity Fabric, 800 GB/s)",
    "https://gpu.blog/gpus/instinct-mi250x-mi250x",
    "read",
)
_MI250X_CACHE = Source(
    "AMD, CDNA 2 white paper: L2 of 8 MB for each of the two dies",
    seen="quoted by several repositories",
)
_MI250X_HALF = Source(
    "Half of an MI250X, which is two dies that programs see as two devices",
    seen="computed from the MI250X",
)

_TPU_V4 = Source("Google Cloud, TPU v4", "https://cloud.google.com/tpu/docs/v4", "read")
_TPU_V5E = Source("Google Cloud, TPU v5e", "https://docs.cloud.google.com/tpu/docs/v5e", "read")
_TPU_V5E_INT8 = Source(
    "Google Cloud, TPU v5e, an earlier version of the page (393 TOPs)", _TPU_V5E.url, "read"
)
_TPU_V5P = Source(
    "Google Cloud, TPU v5p", "https://docs.cloud.google.com/tpu/docs/v5p-training", "read"
)
_TPU_BOOK = Source(
    "Austin et al., How to Scale Your Model, part 2, “Key takeaways”: tables of TPUs",
    f"{_SCALING_BOOK}/tpus.md",
    "read",
)
_TPU_V4_YEAR = Source(
    "9to5Google, 18 May 2021, on Google's announcement",
    "https://9to5google.com/2021/05/18/google-unveils-4th-generation-tensor-processing-unit/",
    "read",
)
_TPU_V5E_YEAR = Source(
    "AI Wiki on TPU v5e (announced on 29 August 2023)",
    "https://aiwiki.ai/wiki/google_tpu_v5e",
    "read",
)
_TPU_V5P_YEAR = Source("Accelerator catalogue, launch 2023-12-06", _ROOFLINE_NOTES, "read")
_TPU_ON_CHIP = Source(
    "JAX, Pallas for TPU, the table behind `TpuInfo`: CMEM 134 MB (v4), VMEM 2 × 64 MiB (v5p)",
    "https://github.com/jax-ml/jax",
    "read",
)

_INF2 = Source(
    "AWS Neuron documentation, Inferentia2 architecture",
    "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/general/arch/neuron-hardware/inferentia2.html",
    "read",
)
_INF2_NKI = Source(
    "AWS Neuron documentation, Trainium/Inferentia2 architecture guide for NKI "
    "(820 GB/s; two cores with 24 MiB of state buffer each)",
    "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/nki/arch/trainium_inferentia2_arch.html",
    "read",
)
_INF2_LINK = Source(
    "AWS Neuron documentation, Inf2 architecture (192 GiB/s a chip, GiB read as GB)",
    "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/general/arch/neuron-hardware/inf2-arch.html",
    "read",
)
_INF2_YEAR = _unverified("AWS, preview of EC2 Inf2 at re:Invent, November 2022")

_M2_ULTRA = Source(
    "Apple, press release “Apple introduces M2 Ultra”, 5 June 2023",
    "https://www.apple.com/newsroom/2023/06/apple-introduces-m2-ultra/",
    "read",
)
_APPLE_GPU = Source(
    "Hugging Face's table of hardware, “only approximate/theoretical”: M2 Ultra 27.2, M3 Max 14.2",
    "https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/hardware.ts",
    "read; Apple itself publishes no such number",
)
_APPLE_REST = _unverified("Apple publishes no such number: bf16 as fast as fp16; the system cache")
_M3_MAX_TABLE = Source(
    "llama.cpp discussion 4167, table: M3 Max, 40 GPU cores, 400 GB/s",
    "https://github.com/ggml-org/llama.cpp/discussions/4167",
    "quoted by https://gist.github.com/jakehemmerle/3203efa01ac455c2a8a26669eb465af2",
)
_M3_MAX = Source(
    "Apple, event of 30 October 2023 (M3 Max: 40-core GPU, up to 128 GB)",
    seen="quoted by http://thecekodok.com/2023/10/apple-introduces-new-chip-series-m3-m3.html",
)

_SPR_AMX = Source(
    "Intel, Accelerate AI Workloads with Intel AMX: 1,024 BF16 and 2,048 INT8 operations a cycle",
    seen="quoted by PyTorch's tutorial on AMX; computed: × 56 cores × 2.0 GHz, the base clock",
)
_SPR_AVX = Source(
    "Two 512-bit units of fused multiply-adds a core: 64 FLOPs a cycle",
    seen="computed: × 56 cores × 2.0 GHz, the base clock",
)
_SPR_MEMORY = Source(
    "ServeTheHome on the Xeon Max 9480 and the Platinum 8480+ (56 cores, 8 channels of DDR5)",
    "https://servethehome.com/intel-xeon-max-9480-deep-dive-intel-has-64gb-hbm2e-onboard-like-a-gpu-or-ai-accelerator/3",
    "read; computed: 8 channels × 4800 MT/s × 8 bytes",
)
_SPR_YEAR = Source(
    "Launch of the 4th generation Xeon Scalable, 10 January 2023",
    "https://wccftech.com/intel-4th-gen-xeon-cpus-official-sapphire-rapids-up-to-60-cores-8-socket-scalability-350w-tdp-17000-usd/",
    "read",
)
_SPR_REST = _unverified("Intel ARK, Xeon Platinum 8480+: 4 TB at most, 105 MB of L3")
_GENOA = Source(
    "Table of the EPYC 9004 series (96 cores, 2.40 GHz, 384 MB of L3, 12 channels of DDR5-4800)",
    "https://www.hpctech.co.jp/product/amd-epyc-9004-series/",
    "read; computed: 12 channels × 4800 MT/s × 8 bytes; 6 TB a socket at most",
)
_GENOA_FP32 = Source(
    _GENOA.document,
    _GENOA.url,
    "computed: 32 FLOPs a cycle (two 256-bit multiply-adds) × 96 cores × 2.40 GHz, the base clock",
)
_GENOA_REST = _unverified("AMD, Software Optimization Guide for Zen 4: VDPBF16PS, VPDPBUSD")
_GENOA_YEAR = Source(
    "WikiChip, Genoa: launched on 10 November 2022",
    "https://en.wikichip.org/w/index.php?diff=cur&oldid=98883&title=amd%2Fcores%2Fgenoa",
    "read",
)

_LUNAR_NPU = Source(
    "Notebookcheck, Core Ultra 7 256V (47 TOPS, LPDDR5x-8533; the 258V has 32 GB instead of 16)",
    "https://www.notebookcheck.net/Intel-Core-Ultra-7-256V-Processor-Benchmarks-and-Specs.892554.0.html",
    "read",
)
_LUNAR_BANDWIDTH = Source(
    _LUNAR_NPU.document,
    _LUNAR_NPU.url,
    "computed: 128 bits × 8533 MT/s = 136 GB/s, shared by CPU, GPU and NPU",
)
_LUNAR_REST = _unverified("Intel, Lunar Lake architecture: NPU 4 has half the INT8 rate in FP16")
_HEXAGON_NPU = Source(
    "Notebookcheck on the Hexagon NPU of Snapdragon X (45 TOPS)",
    "https://www.notebookcheck.net/Hexagon-NPU-6-in-the-Snapdragon-X2-Elite-Extreme-80-TOPS-performance-that-is-up-to-95-faster-than-Apple-M4-and-122-faster-than-Intel-Lunar-Lake.1166576.0.html",
    "read",
)
_X_ELITE = Source(
    "Mashdigi on the Snapdragon X Elite (LPDDR5x, 136 GB/s, 64 GB at most)",
    "https://en.mashdigi.com/snapdragon-x-elite-is-qualcomms-first-pc-level-processor-built-with-nuvia-technology/",
    "read",
)

_PARTS = (
    Accelerator(
        key="t4",
        name="NVIDIA T4 16 GB (PCIe)",
        kind="GPU",
        year=2018,
        flops=_tera(fp32=8.1, fp16=65, int8=130),
        bandwidth=320 * _GB,
        memory=16 * _GB,
        link=32 * _GB,
        link_name="PCIe 3 x16",
        on_chip=4 * _MIB,
        sources=_each(
            {
                "fp32 fp16 int8 memory link": _T4_SHEET,
                "bandwidth": _T4_BANDWIDTH,
                "year on_chip": Source(
                    "GPU data base entry of the Tesla T4 (13 September 2018; L2 4 MB)",
                    "https://sysrqmts.com/en/gpus/nvidia/tesla/t4",
                    "read",
                ),
            }
        ),
        note="no bf16, no tf32",
    ),
    Accelerator(
        key="a10g",
        name="NVIDIA A10G 24 GB (AWS G5)",
        kind="GPU",
        year=2021,
        flops=_tera(fp32=35, tf32=35, bf16=70, fp16=70, int8=140),
        bandwidth=600 * _GB,
        memory=24 * _GB,
        link=64 * _GB,
        link_name="PCIe 4 x16",
        on_chip=6 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 int8 bandwidth memory": _A10G_SHEET,
                "year on_chip": _A10G_REST,
                "link": _PCIE_4,
            }
        ),
        note="slower matrix units than the A10, which has 125 TFLOP/s",
    ),
    Accelerator(
        key="l4",
        name="NVIDIA L4 24 GB (PCIe)",
        kind="GPU",
        year=2023,
        flops=_tera(fp32=30.3, tf32=60, bf16=121, fp16=121, fp8=242.5, int8=242.5),
        bandwidth=300 * _GB,
        memory=24 * _GB,
        link=64 * _GB,
        link_name="PCIe 4 x16",
        on_chip=48 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8 memory": _L4_SHEET,
                "bandwidth": _L4_BANDWIDTH,
                "year on_chip": _L4_REST,
                "link": _PCIE_4,
            }
        ),
    ),
    Accelerator(
        key="a100-40gb-sxm",
        name="NVIDIA A100 40 GB (SXM4)",
        kind="GPU",
        year=2020,
        flops=_tera(fp32=19.5, tf32=156, bf16=312, fp16=312, int8=624),
        bandwidth=1_555 * _GB,
        memory=40 * _GB,
        link=600 * _GB,
        link_name="NVLink 3",
        on_chip=40 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 int8 bandwidth memory link": _A100_SHEET,
                "year": _A100_YEAR,
                "on_chip": _A100_CACHE,
            }
        ),
    ),
    Accelerator(
        key="a100-80gb-sxm",
        name="NVIDIA A100 80 GB (SXM4)",
        kind="GPU",
        year=2020,
        flops=_tera(fp32=19.5, tf32=156, bf16=312, fp16=312, int8=624),
        bandwidth=2_039 * _GB,
        memory=80 * _GB,
        link=600 * _GB,
        link_name="NVLink 3",
        on_chip=40 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 int8 bandwidth memory link": _A100_SHEET,
                "year": _A100_YEAR,
                "on_chip": _A100_CACHE,
            }
        ),
    ),
    Accelerator(
        key="l40s",
        name="NVIDIA L40S 48 GB (PCIe)",
        kind="GPU",
        year=2023,
        flops=_tera(fp32=91.6, tf32=183, bf16=362.05, fp16=362.05, fp8=733, int8=733),
        bandwidth=864 * _GB,
        memory=48 * _GB,
        link=64 * _GB,
        link_name="PCIe 4 x16",
        on_chip=96 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 bandwidth memory link": _L40S_SHEET,
                "int8": _L40S_INT8,
                "year": _L40S_YEAR,
                "on_chip": _L40S_CACHE,
            }
        ),
    ),
    Accelerator(
        key="h100-sxm",
        name="NVIDIA H100 80 GB (SXM5)",
        kind="GPU",
        year=2022,
        flops=_tera(fp32=66.9, tf32=494.7, bf16=989.4, fp16=989.4, fp8=1978.9, int8=1978.9),
        bandwidth=3_350 * _GB,
        memory=80 * _GB,
        link=900 * _GB,
        link_name="NVLink 4",
        on_chip=50 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8 bandwidth memory link": _H100_WHITE,
                "year": _H100_YEAR,
                "on_chip": _H100_CACHE,
            }
        ),
        note="1,979 TFLOP/s in 16 bits is the sparse number",
    ),
    Accelerator(
        key="h100-pcie",
        name="NVIDIA H100 80 GB (PCIe)",
        kind="GPU",
        year=2022,
        flops=_tera(fp32=51, tf32=378, bf16=756.5, fp16=756.5, fp8=1513, int8=1513),
        bandwidth=2_000 * _GB,
        memory=80 * _GB,
        link=600 * _GB,
        link_name="NVLink 4 bridge between two cards",
        on_chip=50 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8": _H100_PCIE,
                "bandwidth": _H100_PCIE_BRIEF,
                "memory": _H100_PCIE_MEMORY,
                "link": _H100_PCIE_REST,
                "year": _H100_YEAR,
                "on_chip": _H100_CACHE,
            }
        ),
    ),
    Accelerator(
        key="h200-sxm",
        name="NVIDIA H200 141 GB (SXM5)",
        kind="GPU",
        year=2023,
        flops=_tera(fp32=66.9, tf32=494.7, bf16=989.4, fp16=989.4, fp8=1978.9, int8=1978.9),
        bandwidth=4_800 * _GB,
        memory=141 * _GB,
        link=900 * _GB,
        link_name="NVLink 4",
        on_chip=50 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8": _H200_SAME,
                "memory link": _H200_SYSTEM,
                "bandwidth on_chip": _H100_CACHE,
                "year": Source("Accelerator catalogue, launch 2023-11-13", _ROOFLINE_NOTES, "read"),
            }
        ),
        note="an H100 with more and faster memory",
    ),
    Accelerator(
        key="b200-sxm",
        name="NVIDIA B200 180 GB (SXM, HGX)",
        kind="GPU",
        year=2024,
        flops=_tera(fp32=75, tf32=1_100, bf16=2_250, fp16=2_250, fp8=4_500, int8=4_500, fp4=9_000),
        bandwidth=7_700 * _GB,
        memory=180 * _GB,
        link=1_800 * _GB,
        link_name="NVLink 5",
        on_chip=126 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8 fp4 bandwidth memory link": _B200_SHEET,
                "on_chip": _H100_CACHE,
                "year": Source("Accelerator catalogue, launch 2024-03-18", _ROOFLINE_NOTES, "read"),
            }
        ),
        note="announced with 192 GB and 8 TB/s",
    ),
    Accelerator(
        key="rtx-4090",
        name="NVIDIA GeForce RTX 4090 24 GB",
        kind="GPU",
        year=2022,
        flops=_tera(fp32=82.6, tf32=82.6, bf16=165.2, fp16=165.2, fp8=330.3, int8=660.6),
        bandwidth=1_008 * _GB,
        memory=24 * _GB,
        link=64 * _GB,
        link_name="PCIe 4 x16",
        on_chip=72 * _MIB,
        sources=_each(
            {
                "fp32 bf16 fp16 fp8 int8 bandwidth on_chip": _ADA_WHITE,
                "tf32 memory year": _ADA_REST,
                "link": _PCIE,
            }
        ),
        note="330.3 TFLOP/s in fp16 only with sums in fp16",
    ),
    Accelerator(
        key="rtx-3090",
        name="NVIDIA GeForce RTX 3090 24 GB",
        kind="GPU",
        year=2020,
        flops=_tera(fp32=35.6, tf32=35.6, bf16=71.2, fp16=71.2, int8=284),
        bandwidth=936 * _GB,
        memory=24 * _GB,
        link=112.5 * _GB,
        link_name="NVLink 3 bridge between two cards",
        on_chip=6 * _MIB,
        sources=_each(
            {
                "tf32 bf16 fp16 int8": _GA102_WHITE,
                "fp32 bandwidth memory on_chip year": _RTX3090_SPECS,
                "link": _GA102_REST,
            }
        ),
        note="142 TFLOP/s in fp16 only with sums in fp16",
    ),
    Accelerator(
        key="mi250x",
        name="AMD Instinct MI250X 128 GB (OAM)",
        kind="GPU",
        year=2021,
        flops=_tera(fp32=95.7, bf16=383, fp16=383, int8=383),
        bandwidth=3_200 * _GB,
        memory=128 * _GB,
        link=800 * _GB,
        link_name="Infinity Fabric",
        on_chip=16 * _MIB,
        sources=_each(
            {
                "year fp32 bf16 fp16 int8 bandwidth memory": _MI250X_SPECS,
                "link": _MI250X_LINK,
                "on_chip": _MI250X_CACHE,
            }
        ),
        note="two dies, which programs see as two devices",
    ),
    Accelerator(
        key="mi250x-die",
        name="AMD Instinct MI250X, one of its two dies (GCD)",
        kind="GPU",
        year=2021,
        flops=_tera(fp32=47.85, bf16=191.5, fp16=191.5, int8=191.5),
        bandwidth=1_600 * _GB,
        memory=64 * _GB,
        link=400 * _GB,
        link_name="Infinity Fabric",
        on_chip=8 * _MIB,
        sources=_each(
            {
                "year fp32 bf16 fp16 int8 bandwidth memory link": _MI250X_HALF,
                "on_chip": _MI250X_CACHE,
            }
        ),
    ),
    Accelerator(
        key="mi300x",
        name="AMD Instinct MI300X 192 GB (OAM)",
        kind="GPU",
        year=2023,
        flops=_tera(fp32=163.4, tf32=653.7, bf16=1307.4, fp16=1307.4, fp8=2614.9, int8=2614.9),
        bandwidth=5_300 * _GB,
        memory=192 * _GB,
        link=896 * _GB,
        link_name="Infinity Fabric, 7 links",
        on_chip=256 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8 bandwidth memory": _MI300X_SHEET,
                "link": _MI300X_LINK,
                "on_chip": _MI300X_CACHE,
                "year": _MI300X_YEAR,
            }
        ),
    ),
    Accelerator(
        key="tpu-v4",
        name="Google Cloud TPU v4 (one chip)",
        kind="TPU",
        year=2021,
        flops=_tera(bf16=275, int8=275),
        bandwidth=1_200 * _GB,
        memory=32 * _GB,
        link=540 * _GB,
        link_name="ICI, 6 links",
        on_chip=128 * _MIB,
        sources=_each(
            {
                "bf16 int8 bandwidth memory": _TPU_V4,
                "link": _TPU_BOOK,
                "on_chip": _TPU_ON_CHIP,
                "year": _TPU_V4_YEAR,
            }
        ),
    ),
    Accelerator(
        key="tpu-v5e",
        name="Google Cloud TPU v5e (one chip)",
        kind="TPU",
        year=2023,
        flops=_tera(bf16=197, int8=393),
        bandwidth=819 * _GB,
        memory=16 * _GB,
        link=400 * _GB,
        link_name="ICI, 4 links",
        on_chip=128 * _MIB,
        sources=_each(
            {
                "bf16 bandwidth memory link": _TPU_V5E,
                "int8": _TPU_V5E_INT8,
                "on_chip": _TPU_BOOK,
                "year": _TPU_V5E_YEAR,
            }
        ),
    ),
    Accelerator(
        key="tpu-v5p",
        name="Google Cloud TPU v5p (one chip)",
        kind="TPU",
        year=2023,
        flops=_tera(bf16=459, int8=918),
        bandwidth=2_765 * _GB,
        memory=95 * _GB,
        link=1_200 * _GB,
        link_name="ICI, 6 links",
        on_chip=128 * _MIB,
        sources=_each(
            {
                "bf16 bandwidth memory link": _TPU_V5P,
                "on_chip": _TPU_ON_CHIP,
                "int8": _TPU_BOOK,
                "year": _TPU_V5P_YEAR,
            }
        ),
        note="JAX counts 2,460 GB/s of bandwidth, its `TpuInfo` table says",
    ),
    Accelerator(
        key="inferentia2",
        name="AWS Inferentia2 (one chip)",
        kind="NPU",
        year=2022,
        flops=_tera(fp32=47.5, tf32=190, bf16=190, fp16=190, fp8=190, int8=380),
        bandwidth=820 * _GB,
        memory=32 * _GB,
        link=192 * _GB,
        link_name="NeuronLink-v2; AWS doesn't say whether in both directions",
        on_chip=48 * _MIB,
        sources=_each(
            {
                "fp32 tf32 bf16 fp16 fp8 int8 memory": _INF2,
                "bandwidth on_chip": _INF2_NKI,
                "link": _INF2_LINK,
                "year": _INF2_YEAR,
            }
        ),
    ),
    Accelerator(
        key="m2-ultra",
        name="Apple M2 Ultra, 76-core GPU, 192 GB",
        kind="GPU",
        year=2023,
        flops=_tera(fp32=27.2, fp16=27.2, bf16=27.2),
        bandwidth=800 * _GB,
        memory=192 * _GB,
        link=None,
        link_name="none",
        on_chip=96 * _MIB,
        sources=_each(
            {
                "year bandwidth memory": _M2_ULTRA,
                "fp32 fp16": _APPLE_GPU,
                "bf16 on_chip": _APPLE_REST,
            }
        ),
        note="memory shared with the CPU; no units of its own for matrices",
    ),
    Accelerator(
        key="m3-max",
        name="Apple M3 Max, 40-core GPU, 128 GB",
        kind="GPU",
        year=2023,
        flops=_tera(fp32=14.2, fp16=14.2, bf16=14.2),
        bandwidth=400 * _GB,
        memory=128 * _GB,
        link=None,
        link_name="none",
        on_chip=None,
        sources=_each(
            {
                "bandwidth": _M3_MAX_TABLE,
                "year memory": _M3_MAX,
                "fp32 fp16": _APPLE_GPU,
                "bf16": _APPLE_REST,
            }
        ),
        note="memory shared with the CPU; no units of its own for matrices",
    ),
    Accelerator(
        key="xeon-8480",
        name="Intel Xeon Platinum 8480+ (one socket, AMX)",
        kind="CPU",
        year=2023,
        flops=_tera(fp32=7.168, bf16=114.688, int8=229.376),
        bandwidth=307.2 * _GB,
        memory=4_000 * _GB,
        link=None,
        link_name="none",
        on_chip=105 * _MIB,
        sources=_each(
            {
                "bf16 int8": _SPR_AMX,
                "fp32": _SPR_AVX,
                "bandwidth": _SPR_MEMORY,
                "year": _SPR_YEAR,
                "memory on_chip": _SPR_REST,
            }
        ),
        note="peaks at the base clock; memory as far as the sockets for it go",
    ),
    Accelerator(
        key="epyc-9654",
        name="AMD EPYC 9654 (one socket)",
        kind="CPU",
        year=2022,
        flops=_tera(fp32=7.3728, bf16=14.7456, int8=29.4912),
        bandwidth=460.8 * _GB,
        memory=6_000 * _GB,
        link=None,
        link_name="none",
        on_chip=384 * _MIB,
        sources=_each(
            {
                "bandwidth memory on_chip": _GENOA,
                "fp32": _GENOA_FP32,
                "bf16 int8": _GENOA_REST,
                "year": _GENOA_YEAR,
            }
        ),
        note="peaks at the base clock; memory as far as the sockets for it go",
    ),
    Accelerator(
        key="core-ultra-npu",
        name="Intel Core Ultra 7 258V, its NPU 4, 32 GB",
        kind="NPU",
        year=2024,
        flops=_tera(fp16=23.5, int8=47),
        bandwidth=136 * _GB,
        memory=32 * _GB,
        link=None,
        link_name="none",
        on_chip=None,
        sources=_each(
            {
                "int8 memory year": _LUNAR_NPU,
                "bandwidth": _LUNAR_BANDWIDTH,
                "fp16": _LUNAR_REST,
            }
        ),
        note="memory shared with CPU and GPU",
    ),
    Accelerator(
        key="hexagon-x-elite",
        name="Qualcomm Snapdragon X Elite, its Hexagon NPU",
        kind="NPU",
        year=2023,
        flops=_tera(int8=45),
        bandwidth=136 * _GB,
        memory=64 * _GB,
        link=None,
        link_name="none",
        on_chip=None,
        sources=_each({"int8": _HEXAGON_NPU, "bandwidth memory year": _X_ELITE}),
        note="memory shared with CPU and GPU",
    ),
)

ACCELERATORS: dict[str, Accelerator] = {part.key: part for part in _PARTS}


# What was measured

_GPT_FAST = Source(
    "gpt-fast, README, “Benchmarks”",
    "https://github.com/pytorch-labs/gpt-fast",
    "read; a prompt of 5 tokens, then 200 new ones (the script's default)",
)
_GPT_FAST_CONTEXT = 105  # the mean over 5 … 205
_LLAMA_CPP_APPLE = Source(
    "llama.cpp discussion 4167, “Performance of llama.cpp on Apple Silicon M-series”, tg128",
    "https://github.com/ggml-org/llama.cpp/discussions/4167",
    "quoted by https://gist.github.com/jakehemmerle/3203efa01ac455c2a8a26669eb465af2",
)
_LLAMA_CPP_CUDA = Source(
    "llama.cpp discussion 15013, “Performance of llama.cpp on Nvidia CUDA”, tg128",
    "https://github.com/ggml-org/llama.cpp/discussions/15013",
    "quoted by a survey of engines (Llama 2 7B, Q4_0); another quotation has 186 for the RTX 4090",
)
_TG128_CONTEXT = 64  # the mean over 0 … 128: tg128 starts from nothing

_QWEN = Source(
    "Qwen2.5 documentation, “Speed Benchmark”",
    "https://github.com/QwenLM/Qwen2.5/blob/main/docs/source/benchmark/speed_benchmark.rst",
    "read; 2048 new tokens after a prompt of the length given",
)

# A block of 32 weights and one 16-bit scale: 34 bytes in Q8_0, 18 in Q4_0 (ggml-common.h).
_Q8_0, _Q4_0 = 34 / 32, 18 / 32
_INT4_GROUP_32 = 0.5 + 4 / 32  # and a 16-bit scale and zero for each group of 32


def _gpt_fast(
    model: str,
    dtype: str,
    tokens_per_s: float,
    accelerator: str = "a100-80gb-sxm",
    devices: int = 1,
) -> PublishedFigure:
    return PublishedFigure(
        accelerator=accelerator,
        model=model,
        dtype=dtype,
        batch=1,
        context=_GPT_FAST_CONTEXT,
        tokens_per_s=tokens_per_s,
        source=_GPT_FAST,
        engine="gpt-fast",
        bytes_per_weight={"bf16": 2.0, "int8": 1.0, "int4": _INT4_GROUP_32}[dtype],
        devices=devices,
        note="power limited to 330 W" if accelerator == "a100-80gb-sxm" else "",
    )


def _llama_cpp(
    accelerator: str, form: str, tokens_per_s: float, source: Source, note: str = ""
) -> PublishedFigure:
    dtype, width = {"F16": ("fp16", 2.0), "Q8_0": ("int8", _Q8_0), "Q4_0": ("int4", _Q4_0)}[form]
    return PublishedFigure(
        accelerator=accelerator,
        model="llama-2-7b",
        dtype=dtype,
        batch=1,
        context=_TG128_CONTEXT,
        tokens_per_s=tokens_per_s,
        source=source,
        engine="llama.cpp",
        bytes_per_weight=width,
        note=f"{form}; {note}" if note else form,
    )


def _qwen(model: str, engine: str, prompt: int, tokens_per_s: float) -> PublishedFigure:
    return PublishedFigure(
        accelerator="a100-80gb-sxm",
        model=model,
        dtype="bf16",
        batch=1,
        context=prompt + 1024,  # the mean while 2048 tokens are added
        tokens_per_s=tokens_per_s,
        source=_QWEN,
        engine=engine,
        bytes_per_weight=2.0,
        note=f"prompt of {prompt}; SXM or PCIe isn't said",
    )


PUBLISHED: tuple[PublishedFigure, ...] = (
    _gpt_fast("llama-2-7b", "bf16", 104.9),
    _gpt_fast("llama-2-7b", "int8", 155.58),
    _gpt_fast("llama-2-7b", "int4", 196.80),
    _gpt_fast("llama-2-70b", "int8", 19.13),
    _gpt_fast("llama-2-70b", "int4", 25.25),
    _gpt_fast("llama-2-7b", "bf16", 168.84, devices=2),
    _gpt_fast("llama-2-7b", "bf16", 254.02, devices=4),
    _gpt_fast("llama-2-7b", "bf16", 328.43, devices=8),
    _gpt_fast("llama-2-70b", "bf16", 21.32, devices=2),
    _gpt_fast("llama-2-70b", "bf16", 38.01, devices=4),
    _gpt_fast("llama-2-70b", "bf16", 62.50, devices=8),
    _gpt_fast("llama-2-70b", "int8", 80.44, devices=8),
    _gpt_fast("llama-2-70b", "int4", 90.77, devices=8),
    _gpt_fast("llama-2-7b", "bf16", 76.33, accelerator="mi250x-die"),
    _gpt_fast("llama-2-7b", "int8", 101.86, accelerator="mi250x-die"),
    _llama_cpp("m2-ultra", "F16", 41.02, _LLAMA_CPP_APPLE),
    _llama_cpp("m2-ultra", "Q8_0", 66.64, _LLAMA_CPP_APPLE),
    _llama_cpp("m3-max", "F16", 25.09, _LLAMA_CPP_APPLE),
    _llama_cpp("m3-max", "Q8_0", 42.75, _LLAMA_CPP_APPLE),
    _llama_cpp("rtx-3090", "Q4_0", 158.2, _LLAMA_CPP_CUDA),
    _llama_cpp("rtx-4090", "Q4_0", 189.0, _LLAMA_CPP_CUDA),
    _llama_cpp("a100-80gb-sxm", "Q4_0", 200.9, _LLAMA_CPP_CUDA, "SXM or PCIe isn't said"),
    _llama_cpp("h100-sxm", "Q4_0", 280.7, _LLAMA_CPP_CUDA, "listed with HBM3, so SXM"),
    _qwen("qwen2.5-7b", "vLLM 0.6.3", 1, 84.28),
    _qwen("qwen2.5-7b", "vLLM 0.6.3", 6_144, 80.70),
    _qwen("qwen2.5-7b", "vLLM 0.6.3", 14_336, 77.69),
    _qwen("qwen2.5-7b", "vLLM 0.6.3", 30_720, 70.33),
    _qwen("qwen2.5-0.5b", "vLLM 0.6.3", 1, 311.55),
    _qwen("qwen2.5-0.5b", "Transformers 4.46", 1, 47.40),
)


# Looking up


def _plain(name: str) -> str:
    """A name without what people write differently: capitals, blanks, hyphens."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def accelerator(name: str) -> Accelerator:
    """A part by its key in `ACCELERATORS`; capitals, blanks and hyphens don't matter.

    Raises:
        UserError: there is none of this name; the message lists those that there are.

    >>> accelerator("H100 SXM").name
    'NVIDIA H100 80 GB (SXM5)'
    """
    known = {_plain(key): part for key, part in ACCELERATORS.items()}
    known |= {_plain(part.name): part for part in ACCELERATORS.values()}
    found = known.get(_plain(name))
    if found is None:
        keys = {_plain(key): key for key in ACCELERATORS}
        near = difflib.get_close_matches(_plain(name), keys, n=1)
        raise UserError(
            f"unknown accelerator {name!r}{f': did you mean {keys[near[0]]}' if near else ''}? "
            f"Known are {', '.join(ACCELERATORS)}."
        )
    return found


def peak(part: Accelerator | str, dtype: str) -> float:
    """The dense peak of a part for numbers of one type, in FLOP/s.

    Raises:
        UserError: the part has no units for this type; the message names the types that it has.

    >>> f"{peak('a100-80gb-sxm', 'bf16'):.3g}"
    '3.12e+14'
    """
    part = accelerator(part) if isinstance(part, str) else part
    if dtype not in part.flops:
        raise UserError(
            f"{part.key} has no peak for {dtype!r}: expected one of {', '.join(part.flops)}."
        )
    return part.flops[dtype]


# The table for the lesson

_COLUMNS = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")


def _number(value: float) -> str:
    """A number as data sheets print it: no more digits than it has."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _ridge(part: Accelerator) -> str:
    """FLOPs per byte in 16 bits, and a star where one of the two numbers has one."""
    dtype = "bf16" if "bf16" in part.flops else "fp16"
    if dtype not in part.flops:
        return "–"
    mark = "*" if {dtype, "bandwidth"} & set(part.unverified) else ""
    return f"{part.flops[dtype] / part.bandwidth:.0f}{mark}"


def _shown(part: Accelerator) -> list[str]:
    """The cells that the table has a column for."""
    return [name for name in part.cells if name != "year"]


def _row(part: Accelerator, footnotes: Mapping[Source, int]) -> str:
    def cell(name: str, unit: float) -> str:
        if name not in part.cells:
            return "–"
        mark = "" if part.sources[name].verified else "*"
        return f"{_number(part.value(name) / unit)}{mark}"

    numbers = sorted({footnotes[part.sources[name]] for name in _shown(part)})
    return " | ".join(
        [
            f"| {part.name}",
            part.kind,
            *(cell(dtype, _TERA) for dtype in _COLUMNS),
            cell("bandwidth", _GB),
            _ridge(part),
            cell("memory", _GB),
            cell("link", _GB),
            cell("on_chip", _MIB),
            f"{' '.join(f'[{number}]' for number in numbers)} |",
        ]
    )


def table(keys: Iterable[str] | None = None) -> str:
    """Two Markdown tables: the parts, and, folded, the sources that their last column points to.

    TFLOP/s are dense; bandwidth and link are GB/s, memory GB, on-chip memory MB; the ridge is FLOPs
    per byte in bf16, or else fp16; a star marks a number that no vendor's page was found for.

    Raises:
        UserError: an unknown part.
    """
    parts = [accelerator(key) for key in (ACCELERATORS if keys is None else keys)]
    footnotes: dict[Source, int] = {}
    used: dict[Source, list[str]] = {}
    for part in parts:
        for name in _shown(part):
            source = part.sources[name]
            footnotes.setdefault(source, len(footnotes) + 1)
            used.setdefault(source, []).append(f"{part.key} {name}")
    head = ["part", "kind", *_COLUMNS, "bandwidth", "ridge, 16 bit"]
    head += ["memory", "link", "on chip", "sources"]
    aligned = ["---", "---", *["---:"] * (len(head) - 3), "---"]
    return "\n".join(
        [
            f"| {' | '.join(head)} |",
            f"| {' | '.join(aligned)} |",
            *(_row(part, footnotes) for part in parts),
            "",
            f"<details><summary>{len(footnotes)} sources</summary>",
            "",
            "| | source | for |",
            "| --- | --- | --- |",
            *(
                f"| [{number}] | {source} | {_together(used[source])} |"
                for source, number in footnotes.items()
            ),
            "",
            "</details>",
        ]
    )


def _together(cells: Iterable[str]) -> str:
    """Cells such as "l4 fp32", "l4 bf16" as "l4: fp32, bf16"."""
    groups: dict[str, list[str]] = {}
    for cell in cells:
        key, name = cell.split()
        groups.setdefault(key, []).append(name)
    return "; ".join(f"{key}: {', '.join(names)}" for key, names in groups.items())

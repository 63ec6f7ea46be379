"""Calls of convolutions, pools, resampling, pads and norms in every form and rank."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.operator_cases import Case, ints, rand

LINE, IMAGE, VOLUME = rand(2, 6, 11), rand(2, 6, 9, 7), rand(2, 4, 5, 6, 7)
SHAPED = {1: LINE, 2: IMAGE, 3: VOLUME}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVG = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
UNPOOL = {1: F.max_unpool1d, 2: F.max_unpool2d, 3: F.max_unpool3d}


class Layer(nn.Module):
    """A layer with fixed weights, in evaluation mode."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.layer = layer.to(dtype).eval()
        generator = torch.Generator().manual_seed(5)
        for value in self.layer.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def convolution_cases() -> list[Case]:
    cases: list[Case] = []
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    for rank, kind in kinds.items():
        x = SHAPED[rank]
        channels = x.shape[1]
        forms = {
            "plain": kind(channels, 5, 3), "one": kind(channels, 7, 1), "strided": kind(channels, 4, 3, stride=2, padding=1),
            "dilated": kind(channels, 4, 2, dilation=2, padding=2, bias=False), "same": kind(channels, 3, 3, padding="same"),
            "same_even": kind(channels, 3, 2, padding="same"), "same_dilated": kind(channels, 3, 4, dilation=1, padding="same"),
            "valid": kind(channels, 3, 2, padding="valid"), "grouped": kind(channels, 8, 3, groups=2, padding=1),
            "depthwise": kind(channels, channels, 3, groups=channels), "multiplied": kind(channels, 3 * channels, 3, groups=channels, stride=2),
            "circular": kind(channels, 3, 3, padding=1, padding_mode="circular"), "reflect": kind(channels, 3, 3, padding=2, padding_mode="reflect"),
            "replicate": kind(channels, 3, 3, padding=1, padding_mode="replicate"),
        }  # fmt: skip
        cases += [(f"conv{rank}_{name}", Layer(m), (x,)) for name, m in forms.items()]
        cases += [
            (f"conv{rank}_single", Layer(kind(channels, 5, 3)), (x[0],)),
            (f"conv{rank}_none", Layer(kind(channels, 5, 3)), (x[:0],)),
            (f"conv{rank}_transposed_memory", Layer(kind(channels, 5, 2)), (x.transpose(-1, 1).contiguous().transpose(-1, 1),)),
            (f"conv{rank}_f64", Layer(kind(channels, 5, 3), torch.float64), (x.double(),)),
            (f"conv{rank}_bf16", Layer(kind(channels, 5, 3), torch.bfloat16), (x.bfloat16(),)),
        ]  # fmt: skip
        w = rand(4, channels, *(3,) * rank)
        f = CONV[rank]
        cases += [
            (f"conv{rank}_weight", lambda a, w, f=f: f(a, w, padding=1), (x, w)),
            (f"conv{rank}_weight_bias", lambda a, w, b, f=f: f(a, w, b, stride=2), (x, w, rand(4))),
            (f"conv{rank}_weight_groups", lambda a, w, f=f: f(a, w, groups=2, dilation=2, padding=2), (x, w[:, : channels // 2])),
            (f"conv{rank}_weight_depthwise", lambda a, w, f=f: f(a, w, groups=a.shape[1]), (x, rand(2 * channels, 1, *(2,) * rank))),
            (f"conv{rank}_aten", lambda a, w, b, r=rank: torch.convolution(a, w, b, [2] * r, [1] * r, [1] * r, False, [0] * r, 1), (x, w, rand(4))),
        ]  # fmt: skip
    mixed = nn.Conv2d(6, 5, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2))
    cases.append(("conv2_mixed", Layer(mixed), (IMAGE,)))
    for width in (2, 4, 8, 16):
        grouped = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4)
        cases.append((f"conv2_grouped{width}", Layer(grouped), (rand(1, 4 * width, 7, 5),)))
    # Large enough for Winograd's minimal filtering; odd sizes leave half tiles at the edges.
    cases += [
        ("conv2_filtered", Layer(nn.Conv2d(40, 37, 3, padding=1)), (rand(2, 40, 15, 13),)),
        ("conv2_filtered_valid", Layer(nn.Conv2d(133, 16, 3, bias=False)), (rand(1, 133, 20, 15),)),
    ]
    return cases


def transposed_cases() -> list[Case]:
    cases: list[Case] = []
    kinds = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
    for rank, kind in kinds.items():
        x = SHAPED[rank][:, :4]
        forms = {
            "plain": kind(4, 5, 3), "strided": kind(4, 3, 2, stride=2), "padded": kind(4, 3, 4, stride=2, padding=1),
            "output_padding": kind(4, 3, 3, stride=2, padding=1, output_padding=1), "dilated": kind(4, 3, 2, dilation=3, padding=1),
            "grouped": kind(4, 6, 3, stride=2, groups=2), "depthwise": kind(4, 4, 3, stride=3, groups=4), "one": kind(4, 6, 1, bias=False),
        }  # fmt: skip
        cases += [(f"conv_t{rank}_{name}", Layer(m), (x,)) for name, m in forms.items()]
        w, f = rand(4, 3, *(3,) * rank), TRANSPOSED[rank]
        cases += [
            (f"conv_t{rank}_single", Layer(kind(4, 5, 3)), (x[0],)), (f"conv_t{rank}_none", Layer(kind(4, 5, 3)), (x[:0],)),
            (f"conv_t{rank}_bf16", Layer(kind(4, 5, 3), torch.bfloat16), (x.bfloat16(),)),
            (f"conv_t{rank}_f64", Layer(kind(4, 5, 3, stride=2), torch.float64), (x.double(),)),
            (f"conv_t{rank}_weight", lambda a, w, f=f: f(a, w, stride=2, padding=1, output_padding=1), (x, w)),
            (f"conv_t{rank}_weight_groups", lambda a, w, b, f=f: f(a, w, b, stride=2, groups=2), (x, w, rand(6))),
            (f"conv_t{rank}_aten", lambda a, w, r=rank: torch.convolution(a, w, None, [2] * r, [1] * r, [1] * r, True, [1] * r, 1), (x, w)),
        ]  # fmt: skip
    return cases


def pooling_cases() -> list[Case]:
    cases: list[Case] = []
    for rank, x in SHAPED.items():
        odd = x.clone()
        odd.view(-1)[5], odd.view(-1)[17], odd.view(-1)[33] = (
            float("nan"),
            float("inf"),
            -float("inf"),
        )
        m, v, r = MAX_POOL[rank], AVG_POOL[rank], rank
        forms = {
            "max": lambda a, m=m: m(a, 2), "max_odd": lambda a, m=m: m(a, 3, 2, 1), "max_ceil": lambda a, m=m: m(a, 3, 2, ceil_mode=True),
            "max_dilated": lambda a, m=m: m(a, 2, 1, dilation=2), "max_indices": lambda a, m=m: m(a, 3, 2, 1, return_indices=True),
            "max_indices_ceil": lambda a, m=m: m(a, 2, 2, 0, 1, True, True),
            "avg": lambda a, v=v: v(a, 2), "avg_padded": lambda a, v=v: v(a, 3, 2, 1), "avg_ceil": lambda a, v=v: v(a, 3, 2, 1, ceil_mode=True),
            "avg_uncounted": lambda a, v=v: v(a, 3, 2, 1, True, False), "avg_stride1": lambda a, v=v: v(a, 2, 1),
        }  # fmt: skip
        cases += [(f"pool{r}_{n}", f, (x,)) for n, f in forms.items()]
        cases += [
            (f"pool{r}_{n}_special", f, (odd,)) for n, f in forms.items() if n.startswith("max_")
        ]
        av, am = ADAPTIVE_AVG[rank], ADAPTIVE_MAX[rank]
        for size in (1, 2, 3, 4, 9):
            cases.append((f"adaptive_avg{r}_{size}", lambda a, av=av, s=size: av(a, s), (x,)))
            cases.append((f"adaptive_max{r}_{size}", lambda a, am=am, s=size: am(a, s), (x,)))
        cases += [
            (f"adaptive_max{r}_indices", lambda a, am=am: am(a, 3, True), (x,)),
            (f"adaptive_max{r}_indices_special", lambda a, am=am: am(a, 2, True), (odd,)),
            (f"adaptive_avg{r}_single", lambda a, av=av: av(a, 3), (x[0],)),
            (f"pool{r}_max_single", lambda a, m=m: m(a, 2), (x[0],)), (f"pool{r}_avg_single", lambda a, v=v: v(a, 2), (x[0],)),
            (f"pool{r}_max_none", lambda a, m=m: m(a, 2), (x[:0],)), (f"pool{r}_avg_none", lambda a, v=v: v(a, 2), (x[:0],)),
            (f"pool{r}_max_bf16", lambda a, m=m: m(a, 2), (x.bfloat16(),)),
            (f"pool{r}_max_f64", lambda a, m=m: m(a, 2), (x.double(),)), (f"pool{r}_avg_f64", lambda a, v=v: v(a, 3, 1), (x.double(),)),
        ]  # fmt: skip
        if rank > 1:
            cases.append((f"pool{r}_divisor", lambda a, v=v: v(a, 2, divisor_override=3), (x,)))
            size = (2,) * (rank - 1) + (None,)
            cases.append((f"adaptive_avg{r}_mixed", lambda a, av=av, s=size: av(a, s), (x,)))
        if rank < 3:  # PyTorch averages no volumes of bfloat16
            cases.append((f"pool{r}_avg_bf16", lambda a, v=v: v(a, 2), (x.bfloat16(),)))
            lp = {1: F.lp_pool1d, 2: F.lp_pool2d}[rank]
            cases += [
                (f"lp{r}_{p}", lambda a, lp=lp, p=p: lp(a, p, 3, 2), (x.abs(),))
                for p in (1.0, 2.0, 3.0)
            ]
        _, places = m(x, 2, return_indices=True)
        up = UNPOOL[rank]
        cases += [
            (f"unpool{r}", lambda a, i, up=up: up(a, i, 2), m(x[..., :4].narrow(-2, 0, 4), 2, return_indices=True) if r == 2 else m(x[..., :4, :4, :4], 2, return_indices=True) if r == 3 else (m(x, 2), places)),
            (f"unpool{r}_size", lambda a, i, up=up, s=x.shape: up(a, i, 2, output_size=s), (m(x, 2), places)),
            (f"unpool{r}_single", lambda a, i, up=up, s=x.shape[-rank:]: up(a, i, 2, output_size=s), (m(x, 2)[0], places[0])),
        ]  # fmt: skip
    cases += [
        ("pool2_mixed", lambda a: F.max_pool2d(a, (3, 2), (2, 1), (1, 0)), (IMAGE,)),
        ("pool2_int", lambda a: F.max_pool2d(a, 2), (ints(1, 3, 6, 6).float(),)),
        ("adaptive2_mixed", lambda a: F.adaptive_max_pool2d(a, (4, None)), (IMAGE,)),
    ]
    return cases


def resampling_cases() -> list[Case]:
    cases: list[Case] = []
    up = F.interpolate
    for rank, x in SHAPED.items():
        linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
        modes = ["nearest", "nearest-exact", "area", linear] + (["bicubic"] if rank == 2 else [])
        for mode in modes:
            for size in (2, 8, 13):
                cases.append(
                    (f"up{rank}_{mode}_{size}", lambda a, s=size, m=mode: up(a, s, mode=m), (x,))
                )
            for factor in (0.6, 2, 2.3):
                cases.append(
                    (
                        f"up{rank}_{mode}_x{factor}",
                        lambda a, s=factor, m=mode: up(a, scale_factor=s, mode=m),
                        (x,),
                    )
                )
            cases.append(
                (
                    f"up{rank}_{mode}_recompute",
                    lambda a, m=mode: up(a, scale_factor=1.7, mode=m, recompute_scale_factor=True),
                    (x,),
                )
            )
            cases.append(
                (f"up{rank}_{mode}_bf16", lambda a, m=mode: up(a, 9, mode=m), (x.bfloat16(),))
            )
            cases.append((f"up{rank}_{mode}_none", lambda a, m=mode: up(a, 9, mode=m), (x[:0],)))
            if mode in (linear, "bicubic"):
                cases += [
                    (
                        f"up{rank}_{mode}_corners{s}",
                        lambda a, m=mode, s=s: up(a, s, mode=m, align_corners=True),
                        (x,),
                    )
                    for s in (1, 4, 12)
                ]
    for mode in ("bilinear", "bicubic"):
        for corners in (False, True):
            for size in ((4, 3), (13, 5), (20, 15)):
                cases.append(
                    (
                        f"aa_{mode}_{corners}_{size}",
                        lambda a, m=mode, c=corners, s=size: up(
                            a, s, mode=m, antialias=True, align_corners=c
                        ),
                        (IMAGE,),
                    )
                )
        cases.append(
            (
                f"aa_{mode}_factor",
                lambda a, m=mode: up(a, scale_factor=0.45, mode=m, antialias=True),
                (IMAGE,),
            )
        )
    image = ints(2, 3, 17, 23, low=0, high=256).to(torch.uint8)
    for mode in ("bilinear", "bicubic"):
        for smooth in (False, True):
            for corners, size in ((False, (9, 31)), (True, (30, 11))):
                cases.append(
                    (
                        f"bytes_{mode}_{smooth}_{corners}",
                        lambda a, m=mode, w=smooth, c=corners, s=size: up(
                            a, s, mode=m, antialias=w, align_corners=c
                        ),
                        (image,),
                    )
                )
        cases.append(
            (
                f"bytes_{mode}_factor",
                lambda a, m=mode: up(a, scale_factor=(1.7, 0.6), mode=m),
                (image,),
            )
        )
    cases += [
        ("bytes_lanczos", lambda a: up(a, (9, 31), mode="lanczos", antialias=True), (image,)),
        ("aa_lanczos", lambda a: up(a, (4, 3), mode="lanczos", antialias=True), (IMAGE,)),
        ("aa_lanczos_up", lambda a: up(a, (20, 15), mode="lanczos", antialias=True), (IMAGE,)),
        (
            "aa_lanczos_factor",
            lambda a: up(a, scale_factor=0.45, mode="lanczos", antialias=True),
            (IMAGE,),
        ),
    ]
    return cases  # fmt: skip


def sampling_cases() -> list[Case]:
    cases: list[Case] = []
    grid2, grid3 = rand(2, 5, 4, 2) * 1.2, rand(2, 3, 4, 5, 3) * 1.2
    for padding in ("zeros", "border", "reflection"):
        for corners in (False, True):
            for mode in ("bilinear", "nearest", "bicubic"):

                def sample(
                    a: Tensor, g: Tensor, m: str = mode, p: str = padding, c: bool = corners
                ) -> Tensor:
                    return F.grid_sample(a, g, m, p, c)

                cases.append((f"grid2_{mode}_{padding}_{corners}", sample, (IMAGE, grid2)))
                if mode != "bicubic":
                    cases.append((f"grid3_{mode}_{padding}_{corners}", sample, (VOLUME, grid3)))
    for corners in (False, True):
        cases += [
            (
                f"affine2_{corners}",
                lambda t, c=corners: F.affine_grid(t, [2, 3, 5, 4], align_corners=c),
                (rand(2, 2, 3),),
            ),
            (
                f"affine3_{corners}",
                lambda t, c=corners: F.affine_grid(t, [2, 3, 5, 4, 3], align_corners=c),
                (rand(2, 3, 4),),
            ),
        ]
    return cases  # fmt: skip


def rearranging_cases() -> list[Case]:
    x = IMAGE
    cases: list[Case] = [
        ("unfold", lambda a: F.unfold(a, 3), (x,)), ("unfold_all", lambda a: F.unfold(a, (3, 2), (2, 1), (1, 0), (1, 2)), (x,)),
        ("unfold_single", lambda a: F.unfold(a, 2), (x[0],)), ("unfold_bf16", lambda a: F.unfold(a, 2, padding=1), (x.bfloat16(),)),
        ("fold", lambda a: F.fold(a, (5, 6), 2), (rand(2, 12, 20),)), ("fold_all", lambda a: F.fold(a, (7, 6), (3, 2), (1, 1), (1, 0), (2, 2)), (rand(2, 12, 12),)),
        ("fold_single", lambda a: F.fold(a, (4, 4), 2, stride=2), (rand(8, 4),)),
        ("shuffle", lambda a: F.pixel_shuffle(a, 2), (rand(2, 8, 3, 5),)), ("unshuffle", lambda a: F.pixel_unshuffle(a, 2), (rand(2, 3, 6, 4),)),
        ("channel_shuffle", lambda a: F.channel_shuffle(a, 3), (x,)), ("native_channel_shuffle", lambda a: torch.native_channel_shuffle(a, 2), (x,)),
    ]  # fmt: skip
    for rank, a in SHAPED.items():
        pads = [2, 1, 0, 2, 1, 3][: 2 * rank]
        for mode in ("constant", "reflect", "replicate", "circular"):
            cases.append((f"pad{rank}_{mode}", lambda a, p=pads, m=mode: F.pad(a, p, m), (a,)))
            cases.append(
                (
                    f"pad{rank}_{mode}_bf16",
                    lambda a, p=pads, m=mode: F.pad(a, p, m),
                    (a.bfloat16(),),
                )
            )
            if mode != "constant":
                cases.append(
                    (f"pad{rank}_{mode}_single", lambda a, p=pads, m=mode: F.pad(a, p, m), (a[0],))
                )
        cases += [
            (f"pad{rank}_value", lambda a, p=pads: F.pad(a, p, value=2.5), (a,)),
            (f"pad{rank}_crop", lambda a, p=pads: F.pad(a, [-1, *p[1:]]), (a,)),
            (f"pad{rank}_int", lambda a, p=pads: F.pad(a, p, value=3), (ints(*a.shape),)),
        ]
    return cases


def norm_cases() -> list[Case]:
    cases: list[Case] = []
    batch = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    instance = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
    for rank, x in SHAPED.items():
        c = x.shape[1]
        forms = {
            "batch": batch[rank](c), "batch_plain": batch[rank](c, affine=False), "batch_untracked": batch[rank](c, track_running_stats=False),
            "instance": instance[rank](c), "instance_affine": instance[rank](c, affine=True),
            "instance_tracked": instance[rank](c, affine=True, track_running_stats=True), "group": nn.GroupNorm(2, c),
            "group_all": nn.GroupNorm(1, c), "group_each": nn.GroupNorm(c, c, affine=False), "layer": nn.LayerNorm(x.shape[1:]),
            "layer_last": nn.LayerNorm(x.shape[-1], bias=False), "rms": nn.RMSNorm(x.shape[-1]), "rms_two": nn.RMSNorm(x.shape[-2:], eps=1e-3),
            "local": nn.LocalResponseNorm(3), "local_even": nn.LocalResponseNorm(2, alpha=0.1, beta=0.5, k=2.0),
        }  # fmt: skip
        cases += [(f"{n}_norm{rank}", Layer(m), (x,)) for n, m in forms.items()]
        cases += [
            (f"{n}_norm{rank}_bf16", Layer(m, torch.bfloat16), (x.bfloat16(),))
            for n, m in {
                "batch": batch[rank](c),
                "instance": instance[rank](c, affine=True),
                "group": nn.GroupNorm(2, c),
                "layer": nn.LayerNorm(x.shape[1:]),
            }.items()
        ]
        cases.append((f"instance_norm{rank}_single", Layer(instance[rank](c)), (x[0],)))
    x, c = IMAGE, IMAGE.shape[1]
    w, b = rand(c), rand(c)
    cases += [
        ("batch_norm_flat", Layer(nn.BatchNorm1d(6)), (rand(4, 6),)), ("batch_norm_none", Layer(nn.BatchNorm2d(6)), (x[:0],)),
        ("native_layer", lambda a: torch.native_layer_norm(a, [9, 7], None, None, 1e-5), (x,)),
        ("native_group", lambda a, w, b: torch.native_group_norm(a, w, b, 2, 6, 63, 3, 1e-5), (x, w, b)),
        ("native_batch", lambda a, w, b: torch.native_batch_norm(a, w, b, w, b.abs(), False, 0.1, 1e-5)[0], (x, w, b)),
        ("legit_batch", lambda a, w, b: torch.ops.aten._native_batch_norm_legit.no_stats(a, w, b, True, 0.1, 1e-5), (x, w, b)),
        ("normalize", lambda a: F.normalize(a), (x,)), ("normalize_1", lambda a: F.normalize(a, 1.0, -1), (x,)), ("normalize_inf", lambda a: F.normalize(a, float("inf"), 2), (x,)),
        ("weight_norm", Layer(nn.utils.parametrizations.weight_norm(nn.Conv1d(6, 4, 3))), (LINE,)),
        ("weight_norm_aten", lambda v, g: torch._weight_norm(v, g, 0), (rand(4, 3, 5), rand(4, 1, 1))),
        ("weight_norm_last", lambda v, g: torch._weight_norm(v, g, 2), (rand(4, 3, 5), rand(1, 1, 5))),
        ("renorm", lambda a: torch.renorm(a, 2.0, 1, 1.0), (x,)), ("cosine", lambda a, b: F.cosine_similarity(a, b), (x, rand(*x.shape))),
        ("pairwise", lambda a, b: F.pairwise_distance(a, b), (x, rand(*x.shape))), ("norm_dim", lambda a: torch.linalg.vector_norm(a, 3, (1, 2), True), (x,)),
    ]  # fmt: skip
    return cases

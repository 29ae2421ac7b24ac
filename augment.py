"""Distort training pictures as other hands, pens and papers would."""

import torch
import torch.nn.functional as F

from recipe import TrainConfig


def augment(ink: torch.Tensor, config: TrainConfig, random: torch.Generator) -> torch.Tensor:
    """Return pictures (B, 1, 28, 28), ink from 0 to 1, each rotated, scaled, slanted, shifted, bent, made thicker or thinner,
    noised and erased by its own dice; some with a piece of another picture at their edge, some through a filter."""
    count, side, device = len(ink), ink.shape[-1], ink.device

    def dice(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=random, device=device) * 2 - 1  # from -1 to 1

    if config.rotate or config.scale or config.shear or config.shift or config.elastic:
        angle = dice(count) * config.rotate * torch.pi / 180
        wide, high = 1 + dice(count) * config.scale, 1 + dice(count) * config.scale
        slant = dice(count) * config.shear
        cos, sin = angle.cos(), angle.sin()
        shift = dice(count, 2) * config.shift * 2 / side
        rows = [torch.stack([cos / wide, -sin + slant, shift[:, 0]], 1), torch.stack([sin, cos / high, shift[:, 1]], 1)]
        grid = F.affine_grid(torch.stack(rows, 1), list(ink.shape), align_corners=False)  # (B, 28, 28, 2)
        if config.elastic:
            waves = torch.randn((count, 2, 5, 5), generator=random, device=device) * config.elastic * 2 / side
            bend = F.interpolate(waves, size=(side, side), mode="bicubic", align_corners=True)  # (B, 2, 28, 28)
            grid = grid + bend.permute(0, 2, 3, 1)
        ink = F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if config.thickness:
        amount = dice(count, 1, 1, 1)
        chosen = torch.rand((count, 1, 1, 1), generator=random, device=device) < config.thickness
        thicker, thinner = F.max_pool2d(ink, 3, 1, 1), -F.max_pool2d(-ink, 3, 1, 1)
        changed = torch.where(amount > 0, ink + amount * 0.8 * (thicker - ink), ink - amount * 0.5 * (thinner - ink))
        ink = torch.where(chosen, changed, ink)
    if config.neighbour:
        way = dice(count) * torch.pi
        away = (1.2 + 0.25 * dice(count)) * torch.stack([way.cos(), way.sin()])  # (2, B); the side of the picture is 2
        moves = torch.eye(2, 3, device=device).repeat(count, 1, 1)
        moves[:, :, 2] = away.T
        others = ink[torch.randperm(count, generator=random, device=device)]
        pieces = F.grid_sample(others, F.affine_grid(moves, list(ink.shape), align_corners=False), align_corners=False)
        darkness = 0.65 + 0.35 * dice(count, 1, 1, 1)
        chosen = torch.rand((count, 1, 1, 1), generator=random, device=device) < config.neighbour
        ink = torch.where(chosen, torch.maximum(ink, darkness * pieces), ink)
    if config.filter:
        filters = torch.randn((count, 1, 3, 3), generator=random, device=device)
        filtered = F.conv2d(ink.transpose(0, 1), filters, padding=1, groups=count).transpose(0, 1).abs()
        filtered = filtered / filtered.amax((2, 3), keepdim=True).clamp_min(1e-3)
        amount = torch.rand((count, 1, 1, 1), generator=random, device=device)
        chosen = torch.rand((count, 1, 1, 1), generator=random, device=device) < config.filter
        ink = torch.where(chosen, ink + amount * (filtered - ink), ink)
    if config.noise:
        strength = (dice(count, 1, 1, 1) * config.noise).clamp_min(0)  # half of the pictures stay clean
        ink = (ink + strength * torch.randn(ink.shape, generator=random, device=device)).clamp(0, 1)
    if config.erase:
        place = torch.randint(0, side, (2, count, 1), generator=random, device=device)
        reach = torch.randint(1, 4, (count, 1), generator=random, device=device)
        reach = torch.where(torch.rand((count, 1), generator=random, device=device) < config.erase, reach, 0)
        line = torch.arange(side, device=device)
        hit = (line - place).abs() < reach  # (2, B, 28)
        ink = ink.masked_fill((hit[0][:, :, None] & hit[1][:, None, :])[:, None], 0.0)
    return ink

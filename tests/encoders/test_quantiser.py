import pytest
import torch
from torch.nn import functional

from encoders.quantiser import COOL_DOWN, EmaCodebook, TreeQuantiser

pytestmark = pytest.mark.fast


def _cloud(centre: list[float], count: int, seed: int) -> torch.Tensor:
    noise = torch.randn(count, len(centre), generator=torch.Generator().manual_seed(seed))
    return functional.normalize(torch.tensor(centre) + 0.05 * noise, dim=-1)


def _three_clouds() -> torch.Tensor:
    return torch.cat([_cloud(centre, 50, seed) for seed, centre in enumerate(([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]))])


def test_k_means_finds_well_parted_clouds() -> None:
    codebook = EmaCodebook(1, 3, 3)
    latents, group = _three_clouds(), torch.zeros(150, dtype=torch.long)
    codebook.fit(latents, group, seed=0)
    codes = codebook.nearest(latents, group).view(3, 50)
    assert len({int(row[0]) for row in codes}) == 3
    assert all((row == row[0]).all() for row in codes)
    assert torch.allclose(codebook.vectors.norm(dim=-1), torch.ones(1, 3))


def test_fitting_again_with_keep_moves_no_code_to_another_place() -> None:
    codebook = EmaCodebook(1, 3, 3)
    latents, group = _three_clouds(), torch.zeros(150, dtype=torch.long)
    codebook.fit(latents, group, seed=0)
    before = codebook.nearest(latents, group)
    codebook.fit(latents, group, seed=1, keep=True)
    assert torch.equal(codebook.nearest(latents, group), before)


def test_fewer_latents_than_codes_are_repeated() -> None:
    codebook = EmaCodebook(2, 4, 2)
    codebook.fit(functional.normalize(torch.tensor([[1.0, 2], [3, 1]]), dim=-1), torch.tensor([0, 0]), seed=0)
    assert torch.allclose(codebook.vectors.norm(dim=-1), torch.ones(2, 4))


def test_vectors_drift_towards_what_chooses_them() -> None:
    codebook = EmaCodebook(1, 2, 2)
    codebook.fit(torch.tensor([[1.0, 0], [0, 1]]), torch.zeros(2, dtype=torch.long), seed=0)
    target = functional.normalize(torch.tensor([[1.0, 0.3]]), dim=-1).expand(64, 2)
    group, generator = torch.zeros(64, dtype=torch.long), torch.Generator().manual_seed(0)
    chosen = int(codebook.nearest(target, group)[0])
    distances = []
    for _ in range(30):
        codebook.update(target, group, codebook.nearest(target, group), generator)
        distances.append(float((codebook.vectors[0, chosen] - target[0]).norm()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.05


def test_a_dead_code_is_restarted_once_it_has_rested() -> None:
    codebook = EmaCodebook(1, 2, 2)
    codebook.fit(torch.tensor([[1.0, 0], [-1.0, 0]]), torch.zeros(2, dtype=torch.long), seed=0)
    used = torch.tensor([[1.0, 0.0]]).expand(32, 2)
    group, generator = torch.zeros(32, dtype=torch.long), torch.Generator().manual_seed(0)
    restarts = [codebook.update(used, group, codebook.nearest(used, group), generator) for _ in range(COOL_DOWN + 400)]
    assert not any(restarts[:COOL_DOWN])
    first = restarts.index(1)
    assert not any(restarts[first + 1 : first + COOL_DOWN]), "a restarted code is left in peace for a while"
    assert torch.allclose(codebook.vectors[0], torch.tensor([[1.0, 0.0]]).expand(2, 2), atol=1e-3)


def test_fine_codes_are_looked_up_under_their_coarse_code() -> None:
    quantiser = TreeQuantiser(2, 2, 2, 2)
    quantiser.coarse.vectors.copy_(torch.tensor([[[1.0, 0], [0, 1]]]))
    quantiser.fine.vectors.copy_(torch.tensor([[[1.0, 0], [-1, 0]], [[0, 1.0], [0, -1]]]))
    coarse, fine = quantiser.codes(torch.tensor([[0.9, 0.1, -0.9, 0.4], [0.1, 0.9, -0.9, 0.4]]))
    assert (coarse.tolist(), fine.tolist()) == ([0, 1], [1, 0])


def test_gradients_pass_straight_through() -> None:
    quantiser = TreeQuantiser(2, 2, 2, 2)
    quantiser.fit(functional.normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), dim=-1), seed=0)
    latents = torch.randn(3, 4, requires_grad=True)
    quantised, commitment, coarse, fine = quantiser(latents)
    assert torch.allclose(quantised[:, :2], quantiser.coarse.vectors[0, coarse], atol=1e-6)
    assert torch.allclose(quantised[:, 2:], quantiser.fine.vectors[coarse, fine], atol=1e-6)
    quantised.sum().backward()
    assert torch.equal(latents.grad, torch.ones(3, 4))
    assert commitment > 0

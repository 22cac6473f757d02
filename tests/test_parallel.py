import math

import pytest

from hpa.parallel import WorkersConfig, map_images, open_executor

SQUARES = [float(key * key) for key in range(10)]


@pytest.mark.parametrize("config", [WorkersConfig(kind="none"), WorkersConfig(count=2)])
def test_every_key_once(config):
    with open_executor(config) as executor:
        assert dict(map_images(math.sqrt, SQUARES, executor, ahead=3)) == {key: key**0.5 for key in SQUARES}


@pytest.mark.parametrize("config", [WorkersConfig(kind="none"), WorkersConfig(count=1)])
def test_an_error_ends_the_work(config):
    with open_executor(config) as executor, pytest.raises(ValueError, match="math domain error|nonnegative"):
        list(map_images(math.sqrt, [1.0, -1.0, 4.0], executor))


def test_keys_are_taken_only_as_results_are():
    taken = []

    def keys():
        for key in range(100):
            taken.append(key)
            yield key

    with open_executor(WorkersConfig(count=1)) as executor:
        results = map_images(math.sqrt, keys(), executor, total=100, ahead=4)
        next(results)
        assert len(taken) <= 5
        results.close()


def test_dask_without_an_address():
    with pytest.raises(ValueError, match="needs the address"), open_executor(WorkersConfig(kind="dask")):
        pass

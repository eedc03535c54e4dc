"""What is told of a cluster before anything is started in it."""

from types import SimpleNamespace

import pytest
from kubernetes.client import V1Node, V1NodeAddress, V1NodeStatus

from cluster.local import NoCluster, node_address


def api_with(*addresses):
    nodes = [V1Node(status=V1NodeStatus(addresses=given and [V1NodeAddress(**one) for one in given])) for given in addresses]
    return SimpleNamespace(list_node=lambda: SimpleNamespace(items=nodes))


NAME, ADDRESS = {"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "10.0.0.7"}


def test_the_address_of_the_first_node_that_has_one():
    assert node_address(api_with(None, [NAME], [NAME, ADDRESS])) == "10.0.0.7"


@pytest.mark.parametrize("api", [api_with(), api_with(None), api_with([NAME])])
def test_a_cluster_without_a_node(api):
    with pytest.raises(NoCluster, match="without a node that has an address"):
        node_address(api)

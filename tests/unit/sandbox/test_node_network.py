"""Every pod has an address of its own that the other pods, its node and the control plane reach."""

from __future__ import annotations

from builders.user_namespaces import needs_namespaces, printed

pytestmark = needs_namespaces

_PRELUDE = """
import os, socket
from inference_fleet.sandbox.node.sandbox_network import *
run_ip(("link set lo up", "address add 10.244.0.1/32 dev lo"))
outer = os.open("/proc/self/ns/net", os.O_RDONLY)
"""

_TWO_NODES = """
nodes = {index: new_network_namespace(lambda: join_outer_network(index, outer=outer)) for index in (1, 2)}
links = {}
def connect(index):
    network = PodNetwork(index)
    links[index] = [network.connect(), network.connect()]
for index, node in nodes.items():
    in_network_namespace(node, lambda: connect(index))
pods = [link for of_node in links.values() for link in of_node]
servers = []
def serve():
    servers.append(socket.create_server(("0.0.0.0", 80)))
for link in pods:
    in_network_namespace(link.descriptor, serve)
def visit():
    for link in pods:
        connection = socket.create_connection((link.address, 80), timeout=5)
        seen.append(connection.getsockname()[0])
for name, place in (*((link.address, link.descriptor) for link in pods), ("node 1", nodes[1]), ("outer", outer)):
    seen = []
    in_network_namespace(place, visit)
    print(name, *sorted(set(seen)))
"""

_ADDRESSES = """
def work():
    network = PodNetwork(3)
    first = network.connect()
    second = network.connect()
    network.disconnect(first)
    print(first.address, second.address, network.connect().address)
in_network_namespace(new_network_namespace(lambda: join_outer_network(3, outer=outer)), work)
"""

_TAKEN = """
def work():
    network = PodNetwork(3)
    network._free = []
    try:
        network.connect()
    except NetworkError as error:
        print(error)
    network._free = [300]
    try:
        network.connect()
    except NetworkError as error:
        print(error)
    print(network._free)
work()
"""


def run(script: str) -> str:
    return printed(_PRELUDE + script)


def test_pods_nodes_and_control_plane_reach_every_pod_by_their_own_addresses() -> None:
    assert run(_TWO_NODES).splitlines() == [
        "10.244.1.2 10.244.1.2",
        "10.244.1.3 10.244.1.3",
        "10.244.2.2 10.244.2.2",
        "10.244.2.3 10.244.2.3",
        "node 1 10.244.1.1",
        "outer 10.244.0.1",
    ]


def test_an_address_is_handed_out_again_once_it_is_free() -> None:
    assert run(_ADDRESSES).split() == ["10.244.3.2", "10.244.3.3", "10.244.3.2"]


def test_no_address_left_and_a_failed_device_are_said_and_leave_nothing_behind() -> None:
    taken, failed, free = run(_TAKEN).splitlines()
    assert "all 253 pod addresses" in taken
    assert "300" in failed
    assert free == "[300]"

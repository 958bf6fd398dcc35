"""Where a fetch may go. The refused ones are grouped by what they would reach."""

import pytest

from api.ip_addresses import is_global_address

GLOBAL = ["8.8.8.8", "1.1.1.1", "203.0.114.1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450:4001::1"]
GLOBAL_IN_DISGUISE = ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
REFUSED = {
    "this machine": ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::"],
    "the local network": [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
    ],
    "cloud metadata": ["169.254.169.254", "168.63.129.16", "fd00:ec2::254", "100.100.100.200"],
    "several machines": ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1", "ff0e::1"],
    "set aside": [
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
        "192.88.99.1",
        "100::1",
        "2001:db8::1",
        "3fff::1",
    ],
    "site local, and others outside 2000::/3": ["fec0::1", "4000::1", "5f00::1", "64:ff9b:1::8.8.8.8"],
    "IPv4 mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"],
    "IPv4 compatible": ["::127.0.0.1", "::10.0.0.1", "::8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:c0a8:101::"],
    "Teredo": ["2001:0:7f00:1::", "2001:0:808:808:0:0:80ff:fffe", "2001:0:808:808:0:0:f7f7:f7f7", "2001::1"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::7f00:1"],
    "no address": ["", "localhost", "1", "127.1", "8.8.8.8.8", "fe80::1%eth0%1", "x"],
}


@pytest.mark.parametrize("address", GLOBAL + GLOBAL_IN_DISGUISE)
def test_global_addresses_are_allowed(address: str) -> None:
    assert is_global_address(address)


@pytest.mark.parametrize(
    "address", [pytest.param(address, id=f"{group}: {address}") for group, them in REFUSED.items() for address in them]
)
def test_others_are_refused(address: str) -> None:
    assert not is_global_address(address)

"""A Modbus TCP server made of libmodbus (Debian: libmodbus5), a peer that nobody here wrote.

`python libmodbus_server.py`: prints its port, serves one client after the other until it is killed. Holding
registers hold 1000 + their address and can be written, input registers 2000 + theirs, coils are off, every
third discrete input is on; there are 200 of each.
"""

import ctypes
import ctypes.util
import socket
import sys

COUNT = 200
MAX_ADU_BYTES = 260


class Mapping(ctypes.Structure):
    """modbus_mapping_t of libmodbus 3.1."""

    _fields_ = (
        ("nb_bits", ctypes.c_int),
        ("start_bits", ctypes.c_int),
        ("nb_input_bits", ctypes.c_int),
        ("start_input_bits", ctypes.c_int),
        ("nb_input_registers", ctypes.c_int),
        ("start_input_registers", ctypes.c_int),
        ("nb_registers", ctypes.c_int),
        ("start_registers", ctypes.c_int),
        ("tab_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_registers", ctypes.POINTER(ctypes.c_uint16)),
        ("tab_registers", ctypes.POINTER(ctypes.c_uint16)),
    )


def serve(library: str) -> None:
    """Serve until killed."""
    modbus = ctypes.CDLL(library)
    modbus.modbus_new_tcp.restype = ctypes.c_void_p
    modbus.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = ctypes.c_void_p(modbus.modbus_new_tcp(b"127.0.0.1", port))
    mapping = modbus.modbus_mapping_new(COUNT, COUNT, COUNT, COUNT)
    for i in range(COUNT):
        mapping.contents.tab_registers[i] = 1000 + i
        mapping.contents.tab_input_registers[i] = 2000 + i
        mapping.contents.tab_input_bits[i] = i % 3 == 0
    listening = ctypes.c_int(modbus.modbus_tcp_listen(context, 1))
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    query = (ctypes.c_uint8 * MAX_ADU_BYTES)()
    while True:
        modbus.modbus_tcp_accept(context, ctypes.byref(listening))
        while (length := modbus.modbus_receive(context, query)) >= 0:
            modbus.modbus_reply(context, query, length, mapping)
        modbus.modbus_close(context)


if __name__ == "__main__":
    name = ctypes.util.find_library("modbus")
    if name is None:
        sys.exit("libmodbus is not installed; on Debian: apt-get install libmodbus5")
    serve(name)

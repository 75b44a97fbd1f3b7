"""The :status of an HPACK block, for tests that have no HPACK library."""

STATIC = {8: "200", 9: "204", 10: "206", 11: "304", 12: "400", 13: "404",
          14: "500"}
HUFFMAN = {"0": (0x0, 5), "1": (0x1, 5), "2": (0x2, 5), "3": (0x19, 6),
           "4": (0x1a, 6), "5": (0x1b, 6), "6": (0x1c, 6), "7": (0x1d, 6),
           "8": (0x1e, 6), "9": (0x1f, 6)}


def huffman_digits(data):
    bits = "".join("{:08b}".format(b) for b in data)
    text = ""
    while len(bits) >= 5:
        for digit, (code, length) in HUFFMAN.items():
            if bits.startswith("{:0{}b}".format(code, length)):
                text += digit
                bits = bits[length:]
                break
        else:
            break
    return text


def of(block):
    """The first field of a response, which is its :status."""
    while block[0] & 0xe0 == 0x20:      # dynamic table size
        block = block[1:]
    if block[0] & 0x80:
        return STATIC[block[0] & 0x7f]
    # Literal with an indexed name, 8 to 14 are all :status.
    prefix = 0x3f if block[0] & 0x40 else 0x0f
    assert 8 <= block[0] & prefix <= 14
    length = block[1] & 0x7f
    value = block[2:2 + length]
    return huffman_digits(value) if block[1] & 0x80 else value.decode()

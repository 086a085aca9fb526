"""Check digits and number plans: what tells a card from an order number."""

import ipaddress

# ISO 13616: an IBAN's length is its country's.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip


def passes_luhn(found: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812)."""
    digits = [int(character) for character in found if "0" <= character <= "9"]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return 12 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_card_range(digits: str) -> bool:
    """Whether a network issues cards with this beginning and this length."""
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if 300 <= three <= 305 or two in (36, 38, 39):
        return length in (14, 16, 19)
    if two == 35 or two == 65 or 644 <= three <= 649 or four == 6011 or two in (60, 62, 81) or 2200 <= four <= 2204:
        return 16 <= length <= 19
    # Maestro has numbers from 12 digits on, but so short and without a second sign they are anybody's.
    return (two == 50 or 56 <= two <= 58 or digits[0] == "6") and 16 <= length <= 19


def passes_mod_97(found: str) -> bool:
    """The check digits of an IBAN (ISO 13616)."""
    text = "".join(filter(str.isalnum, found)).upper()
    if IBAN_LENGTHS.get(text[:2]) != len(text) or not text.isascii():
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def is_ssn(digits: str) -> bool:
    """Whether the Social Security Administration could have issued these nine digits."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_personal_ip(found: str, asked: bool) -> bool:
    """An address of the public internet; with a word that says so before it, any address."""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    # "a::b" is a name in a program, not an address.
    if address.is_unspecified or address.is_loopback or (address.version == 6 and len(found) < 8):
        return False
    return asked or address.is_global

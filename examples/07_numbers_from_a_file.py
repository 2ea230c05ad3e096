# Numbers that the script itself counts: numbers.txt beside it has a line for each board, with its chip's MAC.
# Needs --one-at-a-time: else several boards would read one number (parburn refuses them and burns nothing).
# A board that comes again, also one that was interrupted, finds its line and keeps its number.
#
#   parburn --ports '/dev/ttyUSB*' --scripts examples/07_numbers_from_a_file.py --one-at-a-time
import pathlib

numbers = pathlib.Path(__file__).with_name("numbers.txt")
given = numbers.read_text().split() if numbers.exists() else []
chip = bytes(esp.read_mac()).hex()
if chip not in given:
    given.append(chip)
    with numbers.open("a") as file:  # before the burn: a number that was tried is never another board's
        file.write(chip + "\n")
number = given.index(chip) + 1
espefuse(esp, efuses, args, "burn_custom_mac 02:00:00:00:{:02x}:{:02x}".format(number >> 8, number & 255))
print("number {}".format(number))

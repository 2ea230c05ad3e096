/* Reed-Solomon (44, 32) of the eFuse controllers; see reed_solomon.py, which is the reference.
 *
 * A systematic encoder: a shift register of the 12 check bytes, fed back through one table row of 12 bytes for
 * each byte value. C99, no assumption on byte order or alignment, no memory of its own but the table. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DATA_BYTES = 32, CHECK_BYTES = 12, POLYNOMIAL = 0x11D };

static uint8_t feedback[256][CHECK_BYTES];

static uint8_t gf_multiply(uint8_t a, uint8_t b)
{
    unsigned product = 0, shifted = a;
    for (; b != 0; b >>= 1) {
        if (b & 1)
            product ^= shifted;
        shifted <<= 1;
        if (shifted & 0x100)
            shifted ^= POLYNOMIAL;
    }
    return (uint8_t)product;
}

/* Fill the table. Call it once, before any encoding. */
static void parburn_rs_init(void)
{
    /* generator = (x + 2^0)(x + 2^1) .. (x + 2^11); its leading 1 is left out, highest power first */
    uint8_t generator[CHECK_BYTES + 1] = {1};
    uint8_t root = 1;
    for (int degree = 0; degree < CHECK_BYTES; degree++) {
        for (int at = degree + 1; at > 0; at--)
            generator[at] ^= gf_multiply(generator[at - 1], root);
        root = gf_multiply(root, 2);
    }
    for (int value = 0; value < 256; value++)
        for (int at = 0; at < CHECK_BYTES; at++)
            feedback[value][at] = gf_multiply((uint8_t)value, generator[at + 1]);
}

/* data: blocks * 32 bytes; coded: room for blocks * 44 bytes, must not overlap data. */
static void parburn_rs_encode(const uint8_t *data, size_t blocks, uint8_t *coded)
{
    for (size_t block = 0; block < blocks; block++, data += DATA_BYTES, coded += DATA_BYTES + CHECK_BYTES) {
        uint8_t check[CHECK_BYTES + 1] = {0}; /* one more, always 0: it is shifted in from the right */
        for (int at = 0; at < DATA_BYTES; at++) {
            const uint8_t *row = feedback[data[at] ^ check[0]];
            for (int i = 0; i < CHECK_BYTES; i++)
                check[i] = check[i + 1] ^ row[i];
        }
        memcpy(coded, data, DATA_BYTES);
        memcpy(coded + DATA_BYTES, check, CHECK_BYTES);
    }
}

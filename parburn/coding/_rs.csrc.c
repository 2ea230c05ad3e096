/* The eFuse controllers' codings: Reed-Solomon (44, 32) and 3/4; reed_solomon.py and three_quarters.py are the
 * reference.
 *
 * The Reed-Solomon code is linear: the check bytes of a block are the exclusive or of what each of its bytes
 * contributes by itself, and one table for each of the 32 places holds these contributions. The lookups of a
 * block do not wait for each other, which a shift register's would. C99, no assumption on byte order or
 * alignment: the words of a row are only moved and combined, never looked into. No memory of its own but the
 * tables (128 KiB and 256 bytes). */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DATA_BYTES = 32, CHECK_BYTES = 12, CODED_BYTES = DATA_BYTES + CHECK_BYTES, POLYNOMIAL = 0x11D };

typedef struct {
    uint64_t first, rest; /* check bytes 0..7; 8..11 and four zeros; both as they lie in memory */
} row_t;

static row_t rows[DATA_BYTES][256];
static uint8_t bits_of[256]; /* how many are set in a byte */

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

/* Fill the tables. Call it once, before any encoding. */
static void parburn_coding_init(void)
{
    for (int value = 1; value < 256; value++)
        bits_of[value] = (uint8_t)((value & 1) + bits_of[value >> 1]);
    /* generator = (x + 2^0)(x + 2^1) .. (x + 2^11); its leading 1 is left out, highest power first */
    uint8_t generator[CHECK_BYTES + 1] = {1};
    uint8_t root = 1;
    for (int degree = 0; degree < CHECK_BYTES; degree++) {
        for (int at = degree + 1; at > 0; at--)
            generator[at] ^= gf_multiply(generator[at - 1], root);
        root = gf_multiply(root, 2);
    }
    /* x^12 mod generator, and times x for each place to the left: what a 1 at that place contributes */
    uint8_t one[sizeof(row_t)] = {0};
    memcpy(one, generator + 1, CHECK_BYTES);
    for (int place = DATA_BYTES - 1; place >= 0; place--) {
        for (int value = 1; value < 256; value++) {
            int lowest = value & -value;
            if (value == lowest) {
                uint8_t check[sizeof(row_t)] = {0};
                for (int at = 0; at < CHECK_BYTES; at++)
                    check[at] = gf_multiply(one[at], (uint8_t)value);
                memcpy(&rows[place][value], check, sizeof check);
            } else { /* of several bits: what each of them contributes */
                const row_t *low = &rows[place][lowest], *high = &rows[place][value ^ lowest];
                rows[place][value].first = low->first ^ high->first;
                rows[place][value].rest = low->rest ^ high->rest;
            }
        }
        uint8_t out = one[0];
        for (int at = 0; at < CHECK_BYTES; at++)
            one[at] = (at + 1 < CHECK_BYTES ? one[at + 1] : 0) ^ gf_multiply(out, generator[at + 1]);
    }
}

/* data: blocks * 32 bytes; coded: room for blocks * 44 bytes, must not overlap data. */
static void parburn_rs_encode(const uint8_t *data, size_t blocks, uint8_t *coded)
{
    for (size_t block = 0; block < blocks; block++, data += DATA_BYTES, coded += CODED_BYTES) {
        row_t check = {0, 0};
        for (int place = 0; place < DATA_BYTES; place++) {
            const row_t *row = &rows[place][data[place]];
            check.first ^= row->first;
            check.rest ^= row->rest;
        }
        memcpy(coded, data, DATA_BYTES);
        memcpy(coded + DATA_BYTES, &check, CHECK_BYTES);
    }
}

enum { CHUNK_BYTES = 6, CODED_CHUNK_BYTES = CHUNK_BYTES + 2 };

/* data: chunks * 6 bytes; coded: room for chunks * 8 bytes, must not overlap data. */
static void parburn_three_quarters_encode(const uint8_t *data, size_t chunks, uint8_t *coded)
{
    for (size_t chunk = 0; chunk < chunks; chunk++, data += CHUNK_BYTES, coded += CODED_CHUNK_BYTES) {
        unsigned parity = 0, weight = 0;
        for (unsigned place = 0; place < CHUNK_BYTES; place++) {
            coded[place] = data[place];
            parity ^= data[place];
            weight += (place + 1) * bits_of[data[place]];
        }
        coded[CHUNK_BYTES] = (uint8_t)parity;
        coded[CHUNK_BYTES + 1] = (uint8_t)weight; /* 168 at most */
    }
}

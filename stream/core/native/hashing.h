/* XXH3, 64 bits, with a seed, of at most 128 bytes: the ids of plain events.

Written from the specification of XXH3 by Y. Collet (github.com/Cyan4973/xxHash, doc/xxhash_spec.md); what it
gives is what the xxhash package gives (tests/core/native/test_hashing.py). Little-endian machines only, as the state's
packed ids are.

Why by hand: the xxhash package brings neither its header nor an interface for C. The header of a system would be one more
package that a build needs, in whatever version is there; a copy here would be 7,000 lines for these 60. */
#ifndef LIVESHOP_HASHING_H
#define LIVESHOP_HASHING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HASHED_AT_MOST = 128 };

#define PRIME64_1 0x9E3779B185EBCA87ULL
#define PRIME64_2 0xC2B2AE3D27D4EB4FULL
#define PRIME64_3 0x165667B19E3779F9ULL
#define PRIME_MX1 0x165667919E3779F9ULL
#define PRIME_MX2 0x9FB21C651E98DF25ULL

/* The first two thirds of the specification's default secret. */
static const unsigned char XXH3_SECRET[128] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
};

static inline uint32_t read32(const unsigned char *at) { uint32_t value; memcpy(&value, at, 4); return value; }
static inline uint64_t read64(const unsigned char *at) { uint64_t value; memcpy(&value, at, 8); return value; }
static inline uint64_t rotated(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

static inline uint64_t folded(uint64_t left, uint64_t right) {
    unsigned __int128 product = (unsigned __int128)left * right;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t mixed(const unsigned char *at, const unsigned char *secret, uint64_t seed) {
    return folded(read64(at) ^ (read64(secret) + seed), read64(at + 8) ^ (read64(secret + 8) - seed));
}

static inline uint64_t avalanche(uint64_t hash) {
    hash ^= hash >> 37;
    hash *= PRIME_MX1;
    return hash ^ hash >> 32;
}

static inline uint64_t avalanche_short(uint64_t hash) {
    hash ^= hash >> 33;
    hash *= PRIME64_2;
    hash ^= hash >> 29;
    hash *= PRIME64_3;
    return hash ^ hash >> 32;
}

static inline uint64_t xxh3_to_3(const unsigned char *data, size_t length, uint64_t seed) {
    uint64_t combined = (uint64_t)data[0] << 16 | (uint64_t)data[length >> 1] << 24 | data[length - 1] | (uint64_t)length << 8;
    return avalanche_short(combined ^ ((read32(XXH3_SECRET) ^ read32(XXH3_SECRET + 4)) + seed));
}

static inline uint64_t xxh3_to_8(const unsigned char *data, size_t length, uint64_t seed) {
    seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
    uint64_t flip = (read64(XXH3_SECRET + 8) ^ read64(XXH3_SECRET + 16)) - seed;
    uint64_t hash = (read32(data + length - 4) + ((uint64_t)read32(data) << 32)) ^ flip;
    hash ^= rotated(hash, 49) ^ rotated(hash, 24);
    hash *= PRIME_MX2;
    hash ^= (hash >> 35) + length;
    hash *= PRIME_MX2;
    return hash ^ hash >> 28;
}

static inline uint64_t xxh3_to_16(const unsigned char *data, size_t length, uint64_t seed) {
    uint64_t low = read64(data) ^ ((read64(XXH3_SECRET + 24) ^ read64(XXH3_SECRET + 32)) + seed);
    uint64_t high = read64(data + length - 8) ^ ((read64(XXH3_SECRET + 40) ^ read64(XXH3_SECRET + 48)) - seed);
    return avalanche(length + __builtin_bswap64(low) + high + folded(low, high));
}

static inline uint64_t xxh3_to_128(const unsigned char *data, size_t length, uint64_t seed) {
    uint64_t sum = length * PRIME64_1;
    for (size_t round = (length - 1) / 32 + 1; round-- > 0;) {  /* from both ends, inwards first */
        sum += mixed(data + 16 * round, XXH3_SECRET + 32 * round, seed);
        sum += mixed(data + length - 16 * (round + 1), XXH3_SECRET + 32 * round + 16, seed);
    }
    return avalanche(sum);
}

/* length must not be above HASHED_AT_MOST */
static inline uint64_t xxh3(const unsigned char *data, size_t length, uint64_t seed) {
    if (length > 16) return xxh3_to_128(data, length, seed);
    if (length > 8) return xxh3_to_16(data, length, seed);
    if (length > 3) return xxh3_to_8(data, length, seed);
    if (length > 0) return xxh3_to_3(data, length, seed);
    return avalanche_short(seed ^ (read64(XXH3_SECRET + 56) ^ read64(XXH3_SECRET + 64)));
}

#endif

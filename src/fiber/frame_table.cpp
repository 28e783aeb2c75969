//
// fiber/frame_table.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/frame_table.hpp>

#include <algorithm>
#include <iterator>

namespace spindle::detail {

namespace {

using word = frame_word;
using reader = table_reader;
using unreadable = unreadable_table;

// The longest there is, in a sane table: so that a reader has an end.
constexpr word longest_entry = 1 << 24;

reader open_entry(word at)
{
    reader length(at, at + sizeof(std::uint32_t));
    auto const n = length.get<std::uint32_t>();
    if (n == 0 || n > longest_entry)
        throw unreadable();
    return {at + sizeof n, at + sizeof n + n};
}

function_entry read_function(word at, word return_address)
{
    function_entry f;
    auto fde = open_entry(at);
    auto const back_from = fde.at();
    auto const cie_at = back_from - fde.get<std::uint32_t>();

    auto cie = open_entry(cie_at);
    f.first_end = cie.end();
    if (cie.get<std::uint32_t>() != 0)
        throw unreadable();
    auto const version = cie.get<std::uint8_t>();
    if (version != 1 && version != 3)
        throw unreadable();
    char augmentation[8] = {};
    for (auto& c : augmentation)
        if (c = cie.get<char>(); c == 0)
            break;
    if (augmentation[std::size(augmentation) - 1] != 0)
        throw unreadable();
    f.code_factor = cie.unsigned_number();
    f.data_factor = cie.signed_number();
    auto const ra = version == 1 ? cie.get<std::uint8_t>() : cie.unsigned_number();
    if (ra != return_address)
        throw unreadable();
    std::uint8_t encoding = 0;
    auto const sized = augmentation[0] == 'z';
    if (sized) {
        auto const n = cie.unsigned_number();
        auto more = cie;
        cie.skip(n);
        for (auto const* c = augmentation + 1; *c; ++c)
            switch (*c) {
            case 'R':
                encoding = more.get<std::uint8_t>();
                break;
            case 'L':
                (void)more.get<std::uint8_t>();
                break;
            case 'P': {
                auto const e = more.get<std::uint8_t>();
                (void)more.address(e & 0x0f);
                break;
            }
            case 'S': // a signal's: no parked fiber is in one
            default:
                throw unreadable();
            }
    } else if (augmentation[0] != 0) {
        throw unreadable();
    }
    f.first = cie.at();

    f.begin = fde.address(encoding);
    f.end = f.begin + fde.address(encoding & 0x0f);
    if (sized)
        fde.skip(fde.unsigned_number());
    f.program = fde.at();
    f.program_end = fde.end();
    return f;
}

} // namespace

std::optional<function_entry> find_function(loaded_module const& m, word pc, word return_address)
{
    if (m.frame_table == 0)
        return {};
    reader head(m.frame_table, m.end);
    auto const version = head.get<std::uint8_t>();
    auto const to_frames = head.get<std::uint8_t>();
    auto const count_encoding = head.get<std::uint8_t>();
    auto const table = head.get<std::uint8_t>();
    if (version != 1 || table != 0x3b) // pairs of 4 bytes, relative to the head: as all linkers do
        throw unreadable();
    (void)head.address(to_frames, m.frame_table);
    auto const count = head.address(count_encoding, m.frame_table);
    struct pair {
        std::int32_t code, entry;
    };
    if (count == 0 || count > (m.end - head.at()) / sizeof(pair))
        throw unreadable();
    auto const* const first = reinterpret_cast<pair const*>(head.at());
    auto const* const after = std::partition_point(first, first + count, [&](pair const& p) {
        return m.frame_table + static_cast<word>(std::int64_t{p.code}) <= pc;
    });
    if (after == first)
        return {};
    auto const f = read_function(
        m.frame_table + static_cast<word>(std::int64_t{(after - 1)->entry}), return_address);
    if (pc - f.begin >= f.end - f.begin)
        return {}; // in a gap
    return f;
}

} // namespace spindle::detail

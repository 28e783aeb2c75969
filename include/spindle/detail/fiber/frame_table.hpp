//
// spindle/detail/fiber/frame_table.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The tables that exceptions are thrown by, .eh_frame, as far as a walk wants them.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_FRAME_TABLE_HPP
#define SPINDLE_DETAIL_FIBER_FRAME_TABLE_HPP

#include <spindle/config.hpp>

#include <spindle/detail/fiber/modules.hpp>

#include <cstdint>
#include <cstring>
#include <optional>

namespace spindle::detail {

using frame_word = std::uintptr_t;

// What reads a table stops here, and the walk with it.
struct unreadable_table {};

// Some bytes of a table, from a place on.
class table_reader {
public:
    table_reader(frame_word at, frame_word end) noexcept : at_(at), end_(end) {}

    frame_word at() const noexcept { return at_; }
    frame_word end() const noexcept { return end_; }
    bool empty() const noexcept { return at_ == end_; }
    void skip(frame_word n)
    {
        if (n > end_ - at_)
            throw unreadable_table();
        at_ += n;
    }

    template <class T>
    T get()
    {
        T v;
        auto const from = at_;
        skip(sizeof v);
        std::memcpy(&v, reinterpret_cast<void const*>(from), sizeof v);
        return v;
    }

    frame_word unsigned_number() // LEB128
    {
        frame_word v = 0;
        for (unsigned shift = 0;; shift += 7) {
            auto const b = get<std::uint8_t>();
            if (shift < 64)
                v |= static_cast<frame_word>(b & 0x7f) << shift;
            if ((b & 0x80) == 0)
                return v;
        }
    }

    std::int64_t signed_number()
    {
        std::uint64_t v = 0;
        for (unsigned shift = 0;;) {
            auto const b = get<std::uint8_t>();
            if (shift < 64)
                v |= static_cast<std::uint64_t>(b & 0x7f) << shift;
            shift += 7;
            if ((b & 0x80) == 0) {
                if (shift < 64 && (b & 0x40) != 0)
                    v |= ~std::uint64_t{0} << shift;
                return static_cast<std::int64_t>(v);
            }
        }
    }

    // An address as DW_EH_PE_... says; relative to `data` where it says so. What it
    // points through is not needed.
    frame_word address(std::uint8_t encoding, frame_word data = 0)
    {
        auto const here = at_;
        frame_word v = 0;
        switch (encoding & 0x0f) {
        case 0x00:
            v = get<frame_word>();
            break;
        case 0x01:
            v = unsigned_number();
            break;
        case 0x02:
            v = get<std::uint16_t>();
            break;
        case 0x03:
            v = get<std::uint32_t>();
            break;
        case 0x04:
            v = static_cast<frame_word>(get<std::uint64_t>());
            break;
        case 0x09:
            v = static_cast<frame_word>(signed_number());
            break;
        case 0x0a:
            v = static_cast<frame_word>(get<std::int16_t>());
            break;
        case 0x0b:
            v = static_cast<frame_word>(get<std::int32_t>());
            break;
        case 0x0c:
            v = static_cast<frame_word>(get<std::int64_t>());
            break;
        default:
            throw unreadable_table();
        }
        switch (encoding & 0x70) {
        case 0x00:
            return v;
        case 0x10:
            return v + here;
        case 0x30:
            return v + data;
        default:
            throw unreadable_table();
        }
    }

private:
    frame_word at_;
    frame_word end_;
};

// What a table says of one function.
struct function_entry {
    std::int64_t data_factor = 1;
    frame_word code_factor = 1;
    frame_word begin = 0, end = 0;       // of the code
    frame_word first = 0, first_end = 0; // what holds at its beginning
    frame_word program = 0, program_end = 0;
};

// The entry of the function that has this place in it, by the binary search table that
// the linker makes; none: there is none. Throws unreadable_table.
[[nodiscard]] std::optional<function_entry>
find_function(loaded_module const& m, frame_word pc, frame_word return_address);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_FRAME_TABLE_HPP

//
// spindle/detail/fiber/modules.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The program and its shared libraries: where they lie, and what their code is
// called.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_MODULES_HPP
#define SPINDLE_DETAIL_FIBER_MODULES_HPP

#include <spindle/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace spindle::detail {

struct loaded_module {
    std::string path;        // of its file
    std::string name;        // the end of that
    std::uintptr_t bias = 0; // what is added to the file's addresses
    std::uintptr_t begin = 0, end = 0;
    std::uintptr_t frame_table = 0; // .eh_frame_hdr; 0: none

    bool has(std::uintptr_t address) const noexcept { return address - begin < end - begin; }
};

// Empty where the system is no ELF one. Any of them may be gone when it returns, and what
// lay there with it.
[[nodiscard]] SPINDLE_DECL std::vector<loaded_module> loaded_modules();

// For who reads what lies in them: they stay while a function runs. One thread at a time.
class SPINDLE_DECL present_modules {
public:
    using function = void (*)(std::vector<loaded_module> const& all, void* argument);

    // Calls f with those that are there, under the dynamic linker's lock: whoever unloads one
    // waits for the end of it, and so do throws of other threads, with some libgccs. Hence it
    // should be short, and must wait for nobody. Throws what f throws, and bad_alloc.
    void visit(function f, void* argument);

private:
    std::vector<loaded_module> all_;
    // How many have ever come and gone, when that was made.
    unsigned long long came_ = 0, went_ = 0;
};

// A place in the code, as far as the program's symbols tell.
struct code_name {
    std::string function;   // demangled; empty: unknown
    std::size_t offset = 0; // from its beginning; or, if it is unknown, in the file
    std::string module;     // empty: unknown
};

// For addresses behind calls, as they lie on a stack. Static functions too, where the
// files have their symbol tables. Reads each file once.
[[nodiscard]] SPINDLE_DECL std::vector<code_name>
names_of_code(std::vector<loaded_module> const& modules, std::span<std::uintptr_t const> addresses);

// "function + 0x12 (module)", "module + 0x1234" or "0x5555...".
[[nodiscard]] SPINDLE_DECL std::string to_string(code_name const& n, std::uintptr_t address);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_MODULES_HPP

// build: options
//
// tracing.cpp
// ~~~~~~~~~~~
// A workshop that is looked into: a source, three workers, two clerks whose calls block,
// and a packer who computes for too long. What they do is written to a file that
// https://ui.perfetto.dev and Chrome's tracing page open, and what the scheduler has
// counted is printed as Prometheus reads it.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>
#include <spindle/observe.hpp>

#include <boost/program_options.hpp>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;

struct options {
    std::string file = "trace.json";
    int parts = 60;
    unsigned short threads = 2;
    bool metrics = false;
};

void compute_for(std::chrono::steady_clock::duration d)
{
    auto const end = std::chrono::steady_clock::now() + d;
    while (std::chrono::steady_clock::now() < end)
        ;
}

void work(options const& o)
{
    spindle::channel<int> parts(4), done(64);
    spindle::task_group all, workers;

    all.spawn({.name = "source"}, [&] {
        spindle::close_guard const end(parts);
        for (int i = 0; i != o.parts; ++i) {
            if (i % 10 == 0)
                spindle::this_fiber::sleep_for(1ms);
            parts.send(i);
        }
    });
    for (char const* const name : {"worker 1", "worker 2", "worker 3"})
        workers.spawn({.name = name}, [&] {
            for (int const part : parts) {
                compute_for(200us);
                done.send(part);
            }
        });
    for (char const* const name : {"clerk 1", "clerk 2"})
        all.spawn({.name = name}, [&] {
            for (int i = 0; i != 2; ++i) {
                spindle::this_fiber::sleep_for(2ms);
                // Somebody else has the processor meanwhile.
                spindle::blocking([] { std::this_thread::sleep_for(3ms); });
            }
        });
    all.spawn({.name = "packer"}, [&] {
        int n = 0;
        while (auto const part = done.receive())
            if (++n == o.parts / 2)
                compute_for(15ms); // too long: it loses its processor after 10 ms
    });
    workers.wait();
    done.close();
    all.wait();
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("Records what fibers do. Options");
    auto add = known.add_options();
    add("file", po::value(&o.file)->default_value(o.file), "where the trace goes");
    add("parts", po::value(&o.parts)->default_value(o.parts), "how much there is to do");
    add("threads", po::value(&o.threads)->default_value(o.threads), "processors");
    add("metrics", po::bool_switch(&o.metrics), "print what Prometheus would read");
    add("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    if (o.parts < 2 || o.parts > 100'000)
        throw po::error("--parts is 2 to 100000");
    if (o.threads < 1 || o.threads > 1024)
        throw po::error("--threads is 1 to 1024");
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        // tag::record[]
        spindle::trace::recording trace(o.file);
        auto const stats = spindle::run(
            [&] {
                work(o);
                return spindle::this_fiber::get_scheduler().stats();
            },
            {.processors = o.threads, .measure_latency = true});
        auto const written = trace.stop();
        // end::record[]
        if (o.metrics)
            spindle::write_prometheus(std::cout, stats);
        std::cout << "events=" << written.events << " dropped=" << written.dropped
                  << " fibers=" << written.fibers << " handoffs=" << stats.handoffs
                  << " preemptions=" << stats.preemptions << '\n';
        using us = std::chrono::duration<double, std::micro>;
        std::cout << "half of all fibers that were ready ran within "
                  << us(stats.latency.quantile(0.5)).count() << " us, 99 % within "
                  << us(stats.latency.quantile(0.99)).count() << " us\n";
        return 0;
    } catch (std::exception const& e) {
        std::cerr << "tracing: " << e.what() << '\n';
        return 1;
    }
}

// build: options
//
// cancel/scenario_crawler.cpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The crawler among the examples, cancelled at each of its steps. Its source is taken in
// as it is.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE cancel.scenario_crawler
#include <spindle.hpp>

#include <support/every_step.hpp>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/program_options.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

// All that it includes is above.
namespace crawler {
#include "../../example/crawler.cpp"
}

using namespace spindle_test;

// Some sites answer, one wants a second try, one breaks off, one is silent until the time
// is up, and behind one door is nobody.
BOOST_AUTO_TEST_CASE(a_crawl)
{
    crawler::options o;
    o.limit = 3;
    o.deadline = 3;
    over_every_step([&] {
        auto const nobody = crawler::a_door();
        spindle::task_group sites;
        crawler::name_table const names{
            {"broken", crawler::open(sites, crawler::broken)},
            {"busy", crawler::open(sites, crawler::busy)},
            {"nobody", nobody.local_endpoint()},
            {"quick", crawler::open(sites, crawler::quick)},
            {"silent", crawler::open(sites, crawler::silent)},
        };
        std::vector<crawler::page> pages{
            {"quick", "/50"}, {"silent", "/90"}, {"busy", "/20"},
            {"broken", "/10"}, {"nobody", "/40"}, {"quick", "/60"},
        };
        crawler::crawl(pages, names, o);
        // The pages may have been cut and the crawl have ended before it was told.
        if (spindle::this_fiber::stop_requested())
            return;
        for (auto const& p : pages)
            if (p.outcome.empty())
                throw "a page was left out";
    });
}

<?php

return [
    'default' => env('REVERB_SERVER', 'reverb'),

    'servers' => [
        'reverb' => [
            'host' => env('REVERB_SERVER_HOST', '127.0.0.1'),
            'port' => env('REVERB_SERVER_PORT', 0),
            'path' => env('REVERB_SERVER_PATH', ''),
            'hostname' => env('REVERB_HOST'),
            'options' => ['tls' => []],
            'max_request_size' => env('REVERB_MAX_REQUEST_SIZE', 10_000),
            'scaling' => ['enabled' => env('REVERB_SCALING_ENABLED', false), 'channel' => 'reverb', 'server' => ['timeout' => 60]],
            'pulse_ingest_interval' => env('REVERB_PULSE_INGEST_INTERVAL', 15),
        ],
    ],

    'apps' => [
        'provider' => env('STAND_IN_PROVIDER', 'config'),

        'apps' => [[
            'key' => env('REVERB_APP_KEY'),
            'secret' => env('REVERB_APP_SECRET'),
            'app_id' => env('REVERB_APP_ID'),
            'options' => ['host' => env('REVERB_HOST'), 'port' => env('REVERB_PORT', 443), 'useTLS' => false],
            'allowed_origins' => ['*'],
            'ping_interval' => 60,
            'activity_timeout' => 30,
            'max_connections' => env('REVERB_APP_MAX_CONNECTIONS'),
            'max_message_size' => 10_000,
        ]],
    ],
];

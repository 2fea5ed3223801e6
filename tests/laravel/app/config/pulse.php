<?php

return env('STAND_IN_PULSE') === false || ! env('STAND_IN_PULSE') ? null : [
    'enabled' => true,
    'recorders' => [
        Laravel\Reverb\Pulse\Recorders\ReverbMessages::class => ['sample_rate' => env('STAND_IN_PULSE')],
    ],
];
